//! Enforces the revocations that an administrator declared in `spec.sessions.revocations`.
//!
//! [`RevocationsFile`] decides. Each place that opens a session asks it: a call, a refresh and the redemption of a code.
//! A revoked session that is met there is removed from the store, so that it stays ended when the entry is removed.
//!
//! [`RevocationsFile`]: crate::revocations::RevocationsFile

use std::time::Duration;

use behalf_entra::UserIdentity;
use jiff::Timestamp;
use tokio::sync::mpsc;

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
    /// the sessions that a change revokes, and removes these sessions from the store.
    pub async fn follow_revocations(&self) {
        let complaint =
            "The file of revocations is unusable; the revocations that were loaded before stay in force";
        let (revoked, mut to_remove) = mpsc::unbounded_channel();
        let reload = || {
            for id in self.reload_revocations()? {
                // The receiver lives as long as this closure.
                let _ = revoked.send(id);
            }
            Ok::<_, RevocationsFileError>(())
        };
        // A store that does not answer must not delay the next look at the file.
        let remove = async {
            while let Some(id) = to_remove.recv().await {
                self.remove_revoked(&id).await;
            }
        };
        tokio::select! {
            () = mounted_file::follow(INTERVAL, complaint, reload) => {}
            () = remove => {}
        }
    }

    /// Loads changed revocations, and ends the open requests and streams of the sessions that they revoke. Returns these
    /// sessions. The other replicas read their own files: what is open here ends without the store.
    fn reload_revocations(&self) -> Result<Vec<SessionId>, RevocationsFileError> {
        if !self.revocations.reload()? {
            return Ok(Vec::new());
        }
        let revoked = self
            .end_signals
            .ids_with(|login| self.revocations.is_revoked(&login.user, login.at));
        for id in &revoked {
            self.end_signals.send(id);
            audit(id);
        }
        Ok(revoked)
    }

    /// The digest of the file of revocations that is in force.
    pub(crate) fn revocations_digest(&self) -> String {
        self.revocations.digest()
    }

    /// True if an administrator revoked the logins of this user at this time.
    pub(crate) fn is_login_revoked(&self, user: &UserIdentity, at: Timestamp) -> bool {
        self.revocations.is_revoked(&user.oid, at)
    }

    /// True if an administrator revoked the session of this record.
    pub(super) fn is_revoked(&self, record: &Record) -> bool {
        self.revocations.is_revoked(&record.user.oid, record.signed_in_at)
    }

    /// Removes a revoked session that was presented.
    pub(super) async fn end_revoked(&self, id: &SessionId) {
        if self.remove_revoked(id).await {
            audit(id);
        }
    }

    /// Removes a revoked session from the store. Returns false if the store failed; the file refuses the session also while
    /// the store has it.
    async fn remove_revoked(&self, id: &SessionId) -> bool {
        let removed = self.end(id).await;
        if let Err(error) = &removed {
            let error: &dyn std::error::Error = error;
            tracing::warn!(error, session.id = %id, "Unable to remove the revoked session {id}");
        }
        removed.is_ok()
    }
}

/// Writes the audit line of a revoked session.
fn audit(id: &SessionId) {
    Event::of(Action::SessionEnd)
        .session(id)
        .because("revoked_by_administrator")
        .succeeded();
}
