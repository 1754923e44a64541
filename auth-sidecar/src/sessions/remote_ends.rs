//! Ends the open requests and streams of sessions that another replica ended.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;

use super::Sessions;
use crate::session_id::SessionId;
use crate::store::{Announcement, StoreKey};

/// How often this replica looks in the store for the sessions of its open requests and streams, in case it lost an
/// announcement without a sign.
const LOOK: Duration = Duration::from_secs(30);

/// Maximum number of reads at a time.
const AT_ONCE: usize = 16;

impl Sessions {
    /// Follows the announcements of other replicas. Returns at once with a store of one process.
    pub async fn follow_remote_ends(&self) {
        let Some(mut announcements) = self.store.announcements() else {
            return;
        };
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                announcement = announcements.recv() => match announcement {
                    Ok(Announcement::SessionEnded(id)) => self.end_signals.send(&id),
                    Ok(Announcement::Lost) | Err(RecvError::Lagged(_)) => self.look_for_ended().await,
                    Err(RecvError::Closed) => return,
                },
                _ = look.tick() => self.look_for_ended().await,
            }
        }
    }

    /// Ends the open requests and streams of sessions that the store no longer has. A store that does not answer ends
    /// nothing.
    async fn look_for_ended(&self) {
        let open: Vec<SessionId> = self.end_signals.ids();
        stream::iter(open)
            .for_each_concurrent(AT_ONCE, |id| async move {
                if let Ok(None) = self.store.get(&StoreKey::Session(id)).await {
                    self.end_signals.send(&id);
                }
            })
            .await;
    }

    /// Ends the open requests and streams of a session in every replica.
    pub(super) async fn end_everywhere(&self, id: &SessionId) {
        self.end_signals.send(id);
        if let Err(error) = self.store.announce_end(id).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                session.id = %id,
                "Unable to announce the end of session {id}; other replicas find it within {} s",
                LOOK.as_secs()
            );
        }
    }
}
