//! Enforces the revocations that an administrator declared in `spec.sessions.revocations`.
//!
//! [`RevocationsFile`] decides. Each place that opens a session asks it: a call, a refresh and the redemption of a code.
//! A revoked session that is met there is removed from the store, so that it stays ended when the entry is removed.
//!
//! [`RevocationsFile`]: crate::revocations::RevocationsFile

use std::time::Duration;

use super::Sessions;
use super::record::Record;
use crate::mounted_file;
use crate::revocations::RevocationsFileError;
use crate::session_id::SessionId;
use crate::telemetry::audit::{Action, Event};

/// Time between two reads of the file. A revocation is in force at most this long after the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

impl Sessions {
    /// Reads the revocations again when they change, until the future is dropped. Ends the open requests and streams of
    /// the sessions that a change revokes.
    pub async fn follow_revocations(&self) {
        let complaint =
            "The file of revocations is unusable; the revocations that were loaded before stay in force";
        mounted_file::follow(INTERVAL, complaint, || self.reload_revocations()).await;
    }

    fn reload_revocations(&self) -> Result<(), RevocationsFileError> {
        if !self.revocations.reload()? {
            return Ok(());
        }
        // The other replicas read their own files. What is open here ends without the store.
        for id in self
            .end_signals
            .ids_with(|login| self.revocations.is_revoked(&login.user, login.at))
        {
            self.end_signals.send(&id);
            audit(&id);
        }
        Ok(())
    }

    /// True if an administrator revoked the session of this record.
    pub(super) fn is_revoked(&self, record: &Record) -> bool {
        self.revocations.is_revoked(&record.user.oid, record.signed_in_at)
    }

    /// Removes a revoked session from the store.
    pub(super) async fn end_revoked(&self, id: &SessionId) {
        match self.end(id).await {
            Ok(()) => audit(id),
            // The file refuses the session also while the store has it.
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, session.id = %id, "Unable to remove the revoked session {id}");
            }
        }
    }
}

/// Writes the audit line of a revoked session. A session whose streams end, and that is presented later, has two.
fn audit(id: &SessionId) {
    Event::of(Action::SessionEnd)
        .session(id)
        .because("revoked_by_administrator")
        .succeeded();
}
