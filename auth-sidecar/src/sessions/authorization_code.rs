//! Authorization codes: issued after a login, redeemed once.

use std::net::IpAddr;

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
use crate::telemetry::audit::{Action, Event};

/// Lifetime of a code. Some users copy the code into a terminal by hand. RFC 6749, section 4.1.2, allows at
/// most ten minutes. A code is valid once, and only with its verifier.
pub(crate) const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// Maximum length of a client's name in a record, in characters. Each session has its own copy.
const MAX_CLIENT_NAME: usize = 64;

/// A user who has just signed in.
#[derive(Debug)]
pub struct NewLogin {
    /// Tenant and object id of the user.
    pub user: UserIdentity,

    /// The client that the user signed in through.
    pub client_id: String,

    /// The name that the client chose. It is untrusted text.
    pub client_name: Option<String>,

    /// The redirect URI that receives the code.
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
    /// The sealed code that [`Sessions::issue_code`] returned.
    pub code: &'a Secret,

    /// The client that presents the code.
    pub client_id: &'a str,

    /// If present, it must equal the redirect URI of the authorization request byte for byte. OAuth 2.1 clients
    /// leave it out, because the verifier proves more.
    pub redirect_uri: Option<&'a str>,

    /// The PKCE verifier (RFC 7636, section 4.5).
    pub code_verifier: &'a Secret,

    /// The address of the sender, for the audit log.
    pub address: Option<IpAddr>,
}

impl Sessions {
    /// Stores a new session under a secret that only the code contains, and returns the code. The session is
    /// unusable until a client redeems the code. If no client does, the session expires with the code.
    pub async fn issue_code(&self, login: NewLogin) -> Result<Secret, SessionError> {
        let now = self.clock.now();
        if let Some(first) = self.revocations.first_login(&login.user.oid)
            && now < first
        {
            return Err(SessionError::Blocked(format!(
                "an administrator of this server refuses sign-ins until {first}"
            )));
        }
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
            client_name: login
                .client_name
                .map(|name| name.chars().take(MAX_CLIENT_NAME).collect()),
            scopes: login.scopes,
            signed_in_at: now,
            ends_at: later(now, self.rules.maximum_lifetime),
            family: None,
            sign_in_required: false,
            step_up_until: None,
            refused: None,
        };
        let text = self
            .keyring
            .seal(Purpose::Code, &code)
            .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
        let saved = self
            .repository
            .save(&id, &secret, 0, &record, &login.tokens, expires_at);
        match saved.await? {
            Written::Stored => {}
            // Another session has the same 128 random bits as id.
            Written::Conflict => return Err(SessionError::unavailable(Unavailable::Contention)),
        }
        if let Err(error) = self.add_to_user(&user, &id).await {
            // The user's list does not contain this session. No client has its code, so it can end.
            self.end(&id).await?;
            return Err(error);
        }
        Ok(Secret::new(text))
    }

    /// Returns the redirect URI that received this code. `None` for a text that is no code of this server.
    pub(crate) fn redirect_uri_of_code(&self, code: &Secret) -> Option<String> {
        let code: Code = self.keyring.open(Purpose::Code, code.expose()).ok()?;
        Some(code.redirect_uri)
    }

    /// Redeems a code. The record is sealed under a new secret, so that the code does not open it again. A
    /// second redemption ends the session of the first one (RFC 6749, section 4.1.2).
    ///
    /// A code stays valid when it is presented with a wrong client, redirect URI or verifier. Another party
    /// that presents the code must not be able to invalidate it, and cannot guess the 256 bits of the verifier.
    pub async fn redeem_code(&self, redemption: CodeRedemption<'_>) -> Result<ClientTokens, GrantError> {
        let now = self.clock.now();
        let code: Code = self.keyring.open(Purpose::Code, redemption.code.expose())?;
        if code.expires_at <= now {
            return Err(DeadGrant::Expired.into());
        }
        let is_bound = code.client == ClientDigest::of(redemption.client_id)
            && code.resource == self.rules.resource
            && redemption.redirect_uri.is_none_or(|uri| uri == code.redirect_uri);
        let address = redemption.address;
        let refused = |reason| self.audit_refused_grant(Action::SessionStart, &code.id, address, reason);
        if !is_bound {
            refused("wrong_binding").await;
            return Err(DeadGrant::Binding.into());
        }
        if !pkce::verify(redemption.code_verifier, &code.challenge) {
            refused("wrong_verifier").await;
            return Err(DeadGrant::Verifier.into());
        }
        let opened = self.repository.load_with_tokens(&code.id, &code.secret);
        let (loaded, user_tokens) = match opened.await {
            Ok(opened) => opened,
            Err(LoadError::Gone) => return Err(DeadGrant::Ended.into()),
            Err(LoadError::OtherSecret) => return Err(self.end_reused(&code.id, "code_reused").await?),
            Err(LoadError::Unavailable(source)) => return Err(GrantError::Unavailable(source)),
        };
        let mut record = loaded.record;
        if self.is_revoked(&record) {
            self.end_revoked(&code.id, &record).await;
            return Err(DeadGrant::Revoked.into());
        }
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
        let expires_at = self.repository.idle_expiry(&record, now);
        match self
            .repository
            .save(
                &code.id,
                &secret,
                loaded.revision,
                &record,
                &user_tokens,
                expires_at,
            )
            .await
        {
            Ok(Written::Stored) => {
                Event::of(Action::SessionStart)
                    .user(&record.user)
                    .client(&record.client_id)
                    .session(&code.id)
                    .address(address)
                    .succeeded();
                Ok(tokens)
            }
            // Another request redeemed the same code at the same time.
            Ok(Written::Conflict) => Err(self.end_reused(&code.id, "code_reused").await?),
            Err(LoadError::Unavailable(source)) => Err(GrantError::Unavailable(source)),
            Err(LoadError::Gone | LoadError::OtherSecret) => Err(DeadGrant::Ended.into()),
        }
    }

    /// Ends a session whose code or refresh token a client presented a second time.
    pub(super) async fn end_reused(
        &self,
        id: &SessionId,
        reason: &'static str,
    ) -> Result<GrantError, GrantError> {
        let owner = self.owner(id).await?;
        self.end(id).await?;
        // Another request may have ended it at the same time. That one has written its line.
        if let Some(owner) = owner {
            owner.end(id).because(reason).succeeded();
        }
        Ok(DeadGrant::Reused.into())
    }
}
