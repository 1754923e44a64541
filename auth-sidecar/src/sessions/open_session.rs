//! Opens the session of an access token.

use std::sync::Arc;

use behalf_entra::{Secret, TokenSet, UserIdentity};
use jiff::Timestamp;

use super::Sessions;
use super::end_signal::EndSignal;
use super::error::SessionError;
use super::grant::{ClientDigest, Grant};
use super::repository::Loaded;
use crate::access::Scopes;
use crate::client_label::registered_label;
use crate::keys::Purpose;
use crate::session_id::{SessionId, SessionSecret};
use crate::token_digest::TokenDigest;

/// The state of a session when a client presented its access token.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Identifies the session in logs. It is not secret.
    pub id: SessionId,

    /// Tenant and object id of the user.
    pub user: Arc<UserIdentity>,

    /// The client that the user signed in through.
    pub client_id: String,

    /// The label of a client that registered itself. It is computed here, because the audit line of each call contains it.
    pub(super) registered_label: Option<String>,

    /// Scopes of the access token. The session may have more.
    pub scopes: Scopes,

    /// Time of the user's last sign-in at Entra for this session.
    pub signed_in_at: Timestamp,

    /// Expiry of the access token.
    pub expires_at: Timestamp,

    /// Latest end of the session, even if it is used.
    pub ends_at: Timestamp,

    pub(super) secret: SessionSecret,
    pub(crate) tokens: Arc<TokenSet>,
    pub(super) end_signal: EndSignal,

    /// False if the client presented a token of Entra ([`super::entra_bearer`]).
    pub(super) has_record: bool,
}

impl OpenSession {
    /// The client as logs show it.
    pub(crate) fn client_label(&self) -> &str {
        self.registered_label.as_deref().unwrap_or(&self.client_id)
    }

    /// True for a login at this server, whose record has the user's tokens. False for a token of Entra, which only the
    /// client can renew.
    pub(crate) fn has_record(&self) -> bool {
        self.has_record
    }

    /// Returns when this process ends the session: a client or an administrator revokes it, a grant is reused, or Entra
    /// revokes the user's grant. Open requests and streams of the session end then.
    pub async fn ended(&self) {
        self.end_signal.ended().await;
    }

    /// True if this process has ended the session.
    pub(crate) fn has_ended(&self) -> bool {
        self.end_signal.has_ended()
    }

    pub(crate) fn end_signal(&self) -> EndSignal {
        self.end_signal.clone()
    }
}

impl Sessions {
    /// Opens the session of an access token that a client presented in `Authorization`. This counts as use of
    /// the session.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] unless the text is an access token of a live session of this resource.
    /// [`SessionError::Unavailable`] if the store or the keyring cannot decide that.
    pub async fn open(&self, access_token: &Secret) -> Result<Arc<OpenSession>, SessionError> {
        let now = self.clock.now();
        let token = TokenDigest::of(access_token);
        if let Some(session) = self.remembered.get(&token, now) {
            return Ok(session);
        }
        // Few calls get here, and the future of each has room for it.
        Box::pin(self.open_record(access_token, token, now)).await
    }

    async fn open_record(
        &self,
        access_token: &Secret,
        token: TokenDigest,
        now: Timestamp,
    ) -> Result<Arc<OpenSession>, SessionError> {
        let grant: Grant = self.keyring.open(Purpose::Access, access_token.expose())?;
        if grant.expires_at <= now || grant.resource != self.rules.resource {
            return Err(SessionError::Invalid);
        }
        let end_signal = self.end_signals.subscribe(grant.id, &grant.secret);
        let renewals = end_signal.renewals();
        let loaded = self.repository.load(&grant.id, &grant.secret).await?;
        let record = &loaded.record;
        end_signal.set_login(&record.user.oid, record.signed_in_at);
        if self.is_revoked(record) {
            self.end_revoked(&grant.id, record).await;
            return Err(SessionError::Invalid);
        }
        // A record without a family belongs to a code that no client has redeemed: no access token exists.
        let is_redeemed = record.family.is_some() && ClientDigest::of(&record.client_id) == grant.client;
        if !is_redeemed || record.ends_at <= now {
            return Err(SessionError::Invalid);
        }
        self.repository.extend(&grant.id, &loaded, now).await;
        let Loaded {
            record,
            expires_at: ends_at,
            ..
        } = loaded;
        let session = Arc::new(OpenSession {
            id: grant.id,
            user: Arc::new(record.user),
            registered_label: registered_label(&record.client_id),
            client_id: record.client_id,
            scopes: grant.scopes,
            signed_in_at: record.signed_in_at,
            expires_at: grant.expires_at.min(record.ends_at),
            ends_at: record.ends_at,
            secret: grant.secret,
            tokens: record.tokens,
            end_signal,
            has_record: true,
        });
        self.remembered
            .insert(token, Arc::clone(&session), renewals, now, ends_at);
        Ok(session)
    }
}
