//! Ends the open requests and streams of sessions that another replica ended.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Sessions;
use super::repository::LoadError;
use crate::session_id::SessionId;
use crate::store::Announcement;

/// How often this replica looks in the store for the sessions of its open requests and streams, in case it lost an
/// announcement without a sign.
const LOOK: Duration = Duration::from_secs(30);

/// Minimum time between two looks. It doubles up to [`MAX_GAP`] while announcements are lost again and again: each look reads a
/// record for each open session, and a cluster that moves its slots subscribes again about once a second.
const GAP: Duration = Duration::from_secs(1);
const MAX_GAP: Duration = Duration::from_secs(8);

/// Maximum number of reads at a time.
const AT_ONCE: usize = 16;

impl Sessions {
    /// Follows the announcements of other replicas. Returns at once with a store of one process.
    pub async fn follow_remote_ends(&self) {
        let Some(announcements) = self.store.announcements() else {
            return;
        };
        let lost = Notify::new();
        // The search must not delay the announcements that arrive meanwhile.
        tokio::select! {
            () = self.end_announced(announcements, &lost) => {}
            () = self.search_for_lost(&lost) => {}
        }
    }

    async fn end_announced(&self, mut announcements: Receiver<Announcement>, lost: &Notify) {
        loop {
            match announcements.recv().await {
                Ok(Announcement::SessionEnded(id)) => self.end_signals.send(&id),
                Ok(Announcement::Lost) | Err(RecvError::Lagged(_)) => lost.notify_one(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn search_for_lost(&self, lost: &Notify) {
        let (mut gap, mut slept) = (GAP, Duration::ZERO);
        loop {
            let was_told = tokio::time::timeout(LOOK.saturating_sub(slept), lost.notified())
                .await
                .is_ok();
            self.look_for_ended().await;
            slept = if was_told { gap } else { GAP };
            tokio::time::sleep(slept).await;
            gap = (2 * slept).min(MAX_GAP);
        }
    }

    /// Ends the open requests and streams of sessions that the store no longer has, and of those that Entra has revoked or
    /// blocked. A store that does not answer ends nothing.
    async fn look_for_ended(&self) {
        stream::iter(self.end_signals.open())
            .for_each_concurrent(AT_ONCE, |(id, secret)| async move {
                let has_ended = match self.repository.load(&id, &secret).await {
                    Ok(loaded) => loaded.record.ends_open_answers(),
                    Err(LoadError::Gone | LoadError::OtherSecret) => true,
                    Err(LoadError::Unavailable(_)) => false,
                };
                if has_ended {
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
