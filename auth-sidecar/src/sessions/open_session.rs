//! Opens the session of an access token.

use std::sync::Arc;

use behalf_entra::{Secret, TokenSet, UserIdentity};
use jiff::Timestamp;

use super::Sessions;
use super::end_signal::Lifeline;
use super::error::SessionError;
use super::grant::{ClientDigest, Grant};
use super::repository::Loaded;
use crate::access::Scopes;
use crate::keys::Purpose;
use crate::session_id::{SessionId, SessionSecret};

/// A session whose key a client presented, as it was at that moment.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Names the session in logs.
    pub id: SessionId,

    /// The user who signed in.
    pub user: UserIdentity,

    /// The client that the user signed in through.
    pub client_id: String,

    /// Scopes of the session key.
    pub scopes: Scopes,

    /// When the user signed in at Entra.
    pub signed_in_at: Timestamp,

    /// End of the session key.
    pub expires_at: Timestamp,

    /// End of the session, however much it is used.
    pub ends_at: Timestamp,

    pub(super) secret: SessionSecret,
    pub(crate) tokens: Arc<TokenSet>,
    pub(super) lifeline: Lifeline,
}

impl OpenSession {
    /// Returns when the session is ended in this process: revoked, used up, or given up by Entra. What goes on
    /// in its name ends then.
    pub async fn ended(&self) {
        self.lifeline.ended().await;
    }

    pub(crate) fn lifeline(&self) -> Lifeline {
        self.lifeline.clone()
    }
}

impl Sessions {
    /// Opens a session key that a client presented in `Authorization`. Counts as use.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] for anything but a session key of a living session of this resource;
    /// [`SessionError::Unavailable`] when that cannot be told.
    pub async fn open(&self, access_token: &Secret) -> Result<OpenSession, SessionError> {
        let now = self.clock.now();
        let grant: Grant = self.keyring.open(Purpose::Access, access_token.expose())?;
        if grant.expires_at <= now || grant.resource != self.rules.resource {
            return Err(SessionError::Invalid);
        }
        let lifeline = self.lifelines.hold(grant.id);
        let loaded = self.repository.load(&grant.id, &grant.secret).await?;
        let record = &loaded.record;
        // Without a family the code was never redeemed, so that nobody can hold a session key.
        let is_whole = record.family.is_some() && ClientDigest::of(&record.client_id) == grant.client;
        if !is_whole || record.ends_at <= now {
            return Err(SessionError::Invalid);
        }
        self.repository.count_as_use(&grant.id, &loaded, now).await;
        let Loaded { record, .. } = loaded;
        Ok(OpenSession {
            id: grant.id,
            user: record.user,
            client_id: record.client_id,
            scopes: grant.scopes,
            signed_in_at: record.signed_in_at,
            expires_at: grant.expires_at.min(record.ends_at),
            ends_at: record.ends_at,
            secret: grant.secret,
            tokens: record.tokens,
            lifeline,
        })
    }
}
