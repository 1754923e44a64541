//! Enforces the revocations that an administrator declared in `spec.sessions.revocations`.
//!
//! [`RevocationsFile`] decides. Each place that opens a session asks it: a call, a refresh and the redemption of a code.
//! A revoked session that is met there is removed from the store, and so are all others after each change of the file.
//!
//! [`RevocationsFile`]: crate::revocations_file::RevocationsFile

use std::time::Duration;

use behalf_entra::UserIdentity;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::Sessions;
use super::error::SessionError;
use super::record::Record;
use super::repository::Removal;
use crate::mounted_file::{self, MountedFileError};
use crate::session_id::SessionId;
use crate::store::StoreError;
use crate::telemetry::audit::{Action, Event};

/// Time between two reads of the file. A revocation is in force at most this long after the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Times between two attempts to remove the revoked sessions from a store that failed: the first one, and the longest after
/// doubling.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const MAX_RETRY: Duration = Duration::from_mins(5);

impl Sessions {
    /// Reads the revocations again when they change, until the future is dropped. After a change it ends the open requests and
    /// streams of the sessions that are revoked, and then removes every revoked session from the store. It also does so at the
    /// start, because a process that stopped may have left some.
    pub async fn follow_revocations(&self) {
        let complaint =
            "The file of revocations is unusable; the revocations that were loaded before stay in force";
        let changed = Notify::new();
        if self.revocations.revokes_any() {
            changed.notify_one();
        }
        let reload = || {
            if self.reload_revocations()? {
                changed.notify_one();
            }
            Ok(())
        };
        // A store that does not answer must not delay the next look at the file.
        let remove = async {
            loop {
                changed.notified().await;
                let mut pause = FIRST_RETRY;
                while let Err(error) = self.remove_revoked().await {
                    log_failure(&error);
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(MAX_RETRY);
                }
            }
        };
        tokio::select! {
            () = mounted_file::follow(INTERVAL, complaint, reload) => {}
            () = remove => {}
        }
    }

    /// Loads changed revocations, and ends the open requests and streams of the sessions that they revoke. Returns whether they
    /// changed. The other replicas read their own files: what is open here ends without the store.
    fn reload_revocations(&self) -> Result<bool, MountedFileError> {
        if !self.revocations.reload()? {
            return Ok(false);
        }
        let revoked = self
            .end_signals
            .ids_with(|login| self.revocations.is_revoked(&login.user, login.at));
        for id in &revoked {
            self.end_signals.send(id);
        }
        Ok(true)
    }

    /// Removes every revoked session from the store, so that it stays ended when its entry is removed from the file.
    ///
    /// Each replica reads every session for it, about 3 KiB each, and mostly finds that another one has removed it. An administrator
    /// revokes seldom, and no user waits: one replica alone would need an election, and a part of each session another command.
    async fn remove_revoked(&self) -> Result<(), SessionError> {
        let mut cursor = None;
        loop {
            let page = self.store.session_page(cursor.as_deref()).await?;
            for (id, entry) in page.entries {
                if let Some(summary) = self.summary(&id, &entry)?
                    && self
                        .revocations
                        .is_revoked(&summary.user, summary.signed_in_before())
                {
                    self.remove(&id, &summary.user, summary.client_id.as_deref())
                        .await?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
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

    /// Removes a revoked session that was presented. After a failure the file refuses the session also while the store has it.
    pub(super) async fn end_revoked(&self, id: &SessionId, record: &Record) {
        if let Err(error) = self.remove(id, &record.user.oid, Some(&record.client_id)).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, session.id = %id, "Unable to remove the revoked session {id}");
        }
    }

    /// Ends a revoked session. Of several replicas one finds it in the store, and writes its audit line.
    async fn remove(&self, id: &SessionId, user: &str, client: Option<&str>) -> Result<(), StoreError> {
        let removed = self.end(id).await;
        let (event, reason) = (Event::of(Action::SessionEnd), "revoked_by_administrator");
        let event = event.user_id(user).client_label(client).session(id);
        match removed {
            Ok(Removal::Removed) => event.because(reason).succeeded(),
            Ok(Removal::Absent) => {}
            // Without an answer the store may have removed the session. A second try would not find it.
            Ok(Removal::AnswerLost) | Err(_) => event.unknown(reason),
        }
        removed.map(drop)
    }
}

fn log_failure(error: &SessionError) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(
        error,
        "Unable to remove the revoked sessions from the store; trying again"
    );
}
