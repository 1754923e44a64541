//! A session that a client has opened with its access token.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::UserIdentity;
use jiff::Timestamp;

use super::end_signal::{EndSignal, SessionEnd};
use super::user_tokens::UserTokens;
use crate::access::Scopes;
use crate::session_id::{SessionId, SessionSecret};

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
    pub(crate) tokens: UserTokens,
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

    /// Returns the end of this session, at the latest after `left`.
    pub(crate) fn end_within(&self, left: Duration) -> SessionEnd {
        self.end_signal.end_within(left)
    }
}
