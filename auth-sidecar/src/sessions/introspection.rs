//! Introspection of tokens (RFC 7662), for an administrator.

use behalf_entra::{Secret, UserIdentity};
use jiff::Timestamp;

use super::Sessions;
use super::error::SessionError;
use super::grant::{ClientDigest, Grant};
use super::refresh_rotation::Presented;
use super::repository::LoadError;
use crate::access::Scopes;
use crate::keys::{OpenError, Purpose};
use crate::session_id::SessionId;

/// An access token or refresh token that is valid now.
#[derive(Clone, Debug)]
pub struct ActiveToken {
    /// The session of the token.
    pub session: SessionId,

    /// The user of the session.
    pub user: UserIdentity,

    /// The client of the session.
    pub client_id: String,

    /// The scopes of the token.
    pub scopes: Scopes,

    /// Time at which the token was issued.
    pub issued_at: Timestamp,

    /// Expiry of the token.
    pub expires_at: Timestamp,

    /// Time of the user's login.
    pub signed_in_at: Timestamp,

    /// The resource that the token is for.
    pub resource: String,

    /// True for an access token, false for a refresh token.
    pub is_access_token: bool,
}

impl Sessions {
    /// Returns the facts about a token, or `None` if it is not valid. Does not count as a use of the session, and a used
    /// refresh token does not end it.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`] if the store or the keyring cannot decide.
    pub async fn introspect(&self, token: &Secret) -> Result<Option<ActiveToken>, SessionError> {
        let now = self.clock.now();
        let (opened, is_access_token) = match Grant::open(&self.keyring, Purpose::Access, token) {
            Err(OpenError::Malformed) => (Grant::open(&self.keyring, Purpose::Refresh, token), false),
            opened => (opened, true),
        };
        let grant: Grant = match opened.map_err(SessionError::from) {
            Ok(grant) => grant,
            Err(SessionError::Invalid) => return Ok(None),
            Err(error) => return Err(error),
        };
        if grant.expires_at <= now || grant.resource != self.rules.resource {
            return Ok(None);
        }
        let record = match self.repository.load(&grant.id, &grant.secret).await {
            Ok(loaded) => loaded.record,
            Err(LoadError::Gone | LoadError::OtherSecret) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(family) = record.family else {
            return Ok(None);
        };
        let grace = self.rules.refresh_grace;
        let is_current = is_access_token
            || !record.sign_in_required && family.present(grant.generation, now, grace) != Presented::Reused;
        let is_active = is_current
            && record.ends_at > now
            && ClientDigest::of(&record.client_id) == grant.client
            && !record.ends_open_answers()
            && !self.is_revoked(&record);
        Ok(is_active.then_some(ActiveToken {
            session: grant.id,
            user: record.user,
            client_id: record.client_id,
            scopes: grant.scopes,
            issued_at: grant.issued_at,
            expires_at: grant.expires_at.min(record.ends_at),
            signed_in_at: record.signed_in_at,
            resource: grant.resource,
            is_access_token,
        }))
    }
}
