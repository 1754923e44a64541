//! Authorization codes: issued after a login, redeemed once.

use std::sync::Arc;

use behalf_entra::{Secret, TokenSet, UserIdentity};
use jiff::SignedDuration;

use super::error::{DeadGrant, GrantError, SessionError, Unavailable};
use super::grant::Issue;
use super::grant::{ClientDigest, ClientTokens, Code};
use super::record::Record;
use super::refresh_rotation::Family;
use super::repository::LoadError;
use super::{Sessions, later};
use crate::access::Scopes;
use crate::keys::Purpose;
use crate::pkce;
use crate::session_id::{SessionId, SessionSecret};
use crate::store::Written;

/// Life of a code. Long enough for a person who carries it by hand into a terminal; RFC 6749, section
/// 4.1.2, allows ten minutes. It is good once and only with its verifier.
pub(crate) const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// A user who has just signed in.
#[derive(Debug)]
pub struct NewLogin {
    /// The user who signed in.
    pub user: UserIdentity,

    /// Through which client.
    pub client_id: String,

    /// Where the code goes.
    pub redirect_uri: String,

    /// S256 challenge of the client (RFC 7636).
    pub code_challenge: String,

    /// The granted scopes.
    pub scopes: Scopes,

    /// The tokens that Entra issued.
    pub tokens: TokenSet,
}

/// The parameters that come with a code at the token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct CodeRedemption<'a> {
    /// The code.
    pub code: &'a Secret,

    /// The client that presents it.
    pub client_id: &'a str,

    /// Byte for byte the one of the authorization request. OAuth 2.1 clients leave it out, since the
    /// verifier proves more.
    pub redirect_uri: Option<&'a str>,

    /// The verifier (RFC 7636).
    pub code_verifier: &'a Secret,
}

impl Sessions {
    /// Keeps a new session under a secret that only the code carries, and returns the code. Nobody can use
    /// the session before the code is redeemed; without that it goes with the code.
    pub async fn issue_code(&self, login: NewLogin) -> Result<Secret, SessionError> {
        let now = self.clock.now();
        let id = SessionId::generate(self.random.as_ref());
        let secret = SessionSecret::generate(self.random.as_ref());
        let expires_at = later(now, CODE_LIFETIME);
        let code = Code {
            id,
            secret: secret.clone(),
            client: ClientDigest::of(&login.client_id),
            redirect_uri: login.redirect_uri,
            challenge: login.code_challenge,
            resource: self.rules.resource.clone(),
            expires_at,
        };
        let user = login.user.clone();
        let record = Record {
            user: login.user,
            client_id: login.client_id,
            scopes: login.scopes,
            signed_in_at: now,
            ends_at: later(now, self.rules.maximum_lifetime),
            family: None,
            tokens: Arc::new(TokenSet {
                id_token: None,
                ..login.tokens
            }),
            sign_in_required: false,
            step_up_until: None,
            refused: None,
        };
        let text = self
            .keyring
            .seal(Purpose::Code, &code)
            .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
        match self.repository.save(&id, &secret, 0, &record, expires_at).await? {
            Written::Stored => {}
            // 128 random bits met again.
            Written::Conflict => return Err(SessionError::unavailable(Unavailable::Contention)),
        }
        if let Err(error) = self.count(&user, &id).await {
            // Nobody holds its code, so nobody would miss it; but it is not counted.
            self.end(&id).await?;
            return Err(error);
        }
        Ok(Secret::new(text))
    }

    /// Redeems a code: the record moves to a new secret, so that the code opens nothing any more. A second
    /// redemption ends the session that came of the first (RFC 6749, section 4.1.2).
    ///
    /// A code presented with the wrong client, redirect URI or verifier stays good: guessing 256 bits is
    /// hopeless, and whoever sends it wrongly must not take it from its owner.
    pub async fn redeem_code(&self, redemption: CodeRedemption<'_>) -> Result<ClientTokens, GrantError> {
        let now = self.clock.now();
        let code: Code = self.keyring.open(Purpose::Code, redemption.code.expose())?;
        if code.expires_at <= now {
            return Err(DeadGrant::Expired.into());
        }
        let is_bound = code.client == ClientDigest::of(redemption.client_id)
            && code.resource == self.rules.resource
            && redemption.redirect_uri.is_none_or(|uri| uri == code.redirect_uri);
        if !is_bound {
            return Err(DeadGrant::Binding.into());
        }
        if !pkce::verify(redemption.code_verifier, &code.challenge) {
            return Err(DeadGrant::Verifier.into());
        }
        let loaded = match self.repository.load(&code.id, &code.secret).await {
            Ok(loaded) => loaded,
            Err(LoadError::Gone) => return Err(DeadGrant::Ended.into()),
            Err(LoadError::OtherSecret) => return Err(self.end_reused(&code.id, "code").await?),
            Err(LoadError::Unavailable(source)) => return Err(GrantError::Unavailable(source)),
        };
        let mut record = loaded.record;
        let family = Family::new(now);
        record.family = Some(family);
        let secret = SessionSecret::generate(self.random.as_ref());
        let generation = family.generation;
        let scopes = record.scopes;
        let issue = Issue {
            id: &code.id,
            secret: &secret,
            record: &record,
            generation,
            scopes,
            now,
        };
        let tokens = self
            .client_tokens(&issue)
            .map_err(|_| GrantError::Unavailable(Unavailable::Sealing))?;
        let expires_at = self.repository.end_of_idleness(&record, now);
        match self
            .repository
            .save(&code.id, &secret, loaded.revision, &record, expires_at)
            .await
        {
            Ok(Written::Stored) => {
                tracing::info!(session.id = %code.id, "Session {} begins", code.id);
                Ok(tokens)
            }
            // The same code was redeemed at the same moment.
            Ok(Written::Conflict) => Err(self.end_reused(&code.id, "code").await?),
            Err(LoadError::Unavailable(source)) => Err(GrantError::Unavailable(source)),
            Err(LoadError::Gone | LoadError::OtherSecret) => Err(DeadGrant::Ended.into()),
        }
    }

    /// Ends a session whose code or refresh token came a second time.
    pub(super) async fn end_reused(&self, id: &SessionId, what: &str) -> Result<GrantError, GrantError> {
        self.end(id).await?;
        tracing::warn!(
            session.id = %id,
            "Ended session {id}: its {what} was used again"
        );
        Ok(DeadGrant::Reused.into())
    }
}
