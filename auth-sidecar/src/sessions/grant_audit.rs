//! The audit lines of refused codes and refresh tokens.

use std::net::IpAddr;

use super::Sessions;
use crate::session_id::SessionId;
use crate::store::StoreKey;
use crate::telemetry::audit::{Action, Event};

impl Sessions {
    /// Writes the line of an authentic code or refresh token that was refused while its session lives. The line names the user
    /// and the client of the session, and the address of the sender. What the sender claims is not in it: nothing proves it.
    ///
    /// A session that has ended, or that the store cannot return, has no line.
    pub(super) async fn audit_refused_grant(
        &self,
        action: Action,
        id: &SessionId,
        address: Option<IpAddr>,
        reason: &'static str,
    ) {
        let Ok(Some(entry)) = self.store.get(&StoreKey::Session(*id)).await else {
            return;
        };
        let Ok(Some(session)) = self.listed(id, &entry) else {
            return;
        };
        Event::of(action)
            .user_id(&session.user)
            .client_label(session.client_id.as_deref())
            .session(id)
            .address(address)
            .failed(reason);
    }
}
