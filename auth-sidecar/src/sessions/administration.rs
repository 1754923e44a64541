//! Lists and revokes sessions for an administrator.

use jiff::Timestamp;

use super::Sessions;
use super::error::{SessionError, Unavailable};
use super::summary::{SealedSession, Summary};
use crate::keys::{OpenError, Purpose};
use crate::session_id::SessionId;
use crate::store::{Entry, Page};

/// Minimum number of listings by which the sessions of a user are revoked. A fail-over of a store may move a session behind the
/// cursor of the first listing. The second one finds it.
const LISTINGS: usize = 2;

/// Maximum number of listings. Otherwise a user who signs in again and again would keep the command running.
const MAX_LISTINGS: usize = 8;

/// A session as an administrator sees it. It contains no token, no secret and no mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Identifies the session. It opens nothing.
    pub id: SessionId,

    /// Object id of the user in Entra.
    pub user: String,

    /// The client id, or the label of a client that registered itself. Absent if the id is long.
    pub client_id: Option<String>,

    /// The name of the client. Any client can choose any name.
    pub client_name: Option<String>,

    /// Time of the login.
    pub signed_in_at: Timestamp,

    /// Time of the last refresh or renewal, or of the login. The session may have been used after it, at most for the
    /// lifetime of an access token. Absent until the client has redeemed its code.
    pub last_used_at: Option<Timestamp>,

    /// The session ends at this time unless it is used.
    pub expires_at: Timestamp,

    /// The session ends at this time at the latest.
    pub ends_at: Timestamp,
}

/// Some of the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPage {
    /// The sessions, in no order. A page may be empty although more follow.
    pub sessions: Vec<ListedSession>,

    /// Continues the listing after this page.
    pub next: Option<String>,
}

/// The result of the revocation of a user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedSessions {
    /// Number of sessions that ended.
    pub count: usize,

    /// False if the last listing still found sessions, so that the user may have more.
    pub is_complete: bool,
}

impl Sessions {
    /// Returns the next page of the listing that `cursor` continues, or the first one. A session that exists during the
    /// whole listing is in one page at least. Revoked sessions are in none.
    pub async fn list(&self, cursor: Option<&str>) -> Result<SessionPage, SessionError> {
        let Page { entries, next } = self.store.session_page(cursor).await?;
        let mut sessions = Vec::with_capacity(entries.len());
        for (id, entry) in entries {
            sessions.extend(self.listed(&id, &entry)?);
        }
        Ok(SessionPage { sessions, next })
    }

    /// Revokes a session. Returns false if the store has none with this id.
    pub async fn revoke_by_id(&self, id: &SessionId) -> Result<bool, SessionError> {
        let owner = self.owner(id).await?;
        let ended = self.end(id).await;
        if let Some(owner) = &owner {
            let (event, reason) = (owner.end(id), "revoked_by_command");
            // Without an answer the store may have removed the session. A second try would not find it.
            if ended.is_ok() {
                event.because(reason).succeeded();
            } else {
                event.unknown(reason);
            }
        }
        ended?;
        Ok(owner.is_some())
    }

    /// Revokes all sessions of a user. Lists them until a listing finds none, at most eight times. A login during this call may
    /// begin a session that stays.
    pub async fn revoke_by_user(&self, user: &str) -> Result<RevokedSessions, SessionError> {
        let mut count = 0;
        for listing in 1..=MAX_LISTINGS {
            let found = self.revoke_listed(user).await?;
            count += found;
            if found == 0 && listing >= LISTINGS {
                return Ok(RevokedSessions {
                    count,
                    is_complete: true,
                });
            }
        }
        Ok(RevokedSessions {
            count,
            is_complete: false,
        })
    }

    /// Revokes the sessions of a user that one listing finds, and returns their number.
    async fn revoke_listed(&self, user: &str) -> Result<usize, SessionError> {
        let (mut cursor, mut revoked) = (None, 0);
        loop {
            let page = self.list(cursor.as_deref()).await?;
            for session in page.sessions {
                if session.user.eq_ignore_ascii_case(user) && self.revoke_by_id(&session.id).await? {
                    revoked += 1;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(revoked);
            }
        }
    }

    /// Opens the summary of an entry. Returns `None` for an entry that no client can use: revoked, under a retired key, or
    /// not written by this program.
    pub(super) fn listed(
        &self,
        id: &SessionId,
        entry: &Entry,
    ) -> Result<Option<ListedSession>, SessionError> {
        let Some(summary) = self.summary(id, entry)? else {
            return Ok(None);
        };
        let is_over = summary.ends_at <= self.clock.now()
            || self.revocations.is_revoked(&summary.user, summary.signed_in_at);
        Ok((!is_over).then(|| ListedSession {
            id: *id,
            user: summary.user,
            client_id: summary.client_id,
            client_name: summary.client_name,
            signed_in_at: summary.signed_in_at,
            last_used_at: summary.is_redeemed.then_some(summary.written_at),
            expires_at: entry.expires_at,
            ends_at: summary.ends_at,
        }))
    }

    /// Opens the summary of an entry, also that of a revoked session.
    pub(super) fn summary(&self, id: &SessionId, entry: &Entry) -> Result<Option<Summary>, SessionError> {
        let Some(parts) = SealedSession::of(&entry.value) else {
            return Ok(None);
        };
        match self.keyring.open::<Summary>(Purpose::Summary, parts.summary) {
            Ok(summary) if summary.id == *id => Ok(Some(summary)),
            Err(OpenError::UnknownKey {
                rotation_pending: true,
            }) => Err(SessionError::unavailable(Unavailable::Keyring)),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}
