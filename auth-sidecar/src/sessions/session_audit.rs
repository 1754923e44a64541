//! The audit lines whose user and client the record of the session does not give: those of refused codes and refresh tokens,
//! and of sessions that end while nobody can open their record.

use std::net::IpAddr;

use super::Sessions;
use super::summary::Summary;
use crate::session_id::SessionId;
use crate::store::{StoreError, StoreKey};
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

    /// Returns the owner of a session, read before the session ends. `None` if the store has no session with this id.
    pub(super) async fn owner(&self, id: &SessionId) -> Result<Option<SessionOwner>, StoreError> {
        let entry = self.store.get(&StoreKey::Session(*id)).await?;
        // A session ends also if nothing can open its summary.
        Ok(entry.map(|entry| SessionOwner(self.summary(id, &entry).ok().flatten())))
    }
}

/// The user and the client of a session, if a key opens its summary.
pub(super) struct SessionOwner(Option<Summary>);

impl SessionOwner {
    /// Returns the audit event of the end of this session.
    pub(super) fn end(&self, id: &SessionId) -> Event<'_> {
        let event = Event::of(Action::SessionEnd).session(id);
        match &self.0 {
            Some(summary) => event
                .user_id(&summary.user)
                .client_label(summary.client_id.as_deref()),
            None => event,
        }
    }
}
