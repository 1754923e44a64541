//! Remembers the sessions that calls opened within the last second (ADR 0029).
//!
//! A call that opens a session remembers it under the SHA-256 of its access token. The next calls with this token read
//! nothing from the store and decrypt nothing. A remembered session has the end signal of its session: each end of a
//! session that reaches this process sends the signal, so that no later call uses what is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::{OpenSession, later};
use crate::token_digest::TokenDigest;

/// Time for which a session is remembered. An end that this process does not hear of takes effect after it: well within
/// the two seconds that are promised for a revocation.
const LIFE: Duration = Duration::from_secs(1);

/// Pause between two looks for sessions that are older than [`LIFE`]. They leave memory at most this much later.
const SWEEP: Duration = Duration::from_millis(250);

/// Maximum number of remembered sessions. Each has the user's tokens, sealed and perhaps opened, usually less than 8 KiB: 16 MiB
/// together. Beyond it a
/// session is opened for each call.
const MAX_SESSIONS: usize = 2048;

/// The sessions that were opened within the last second. Clones share them.
#[derive(Clone, Default)]
pub(super) struct RememberedSessions(Arc<Mutex<RememberedState>>);

#[derive(Default)]
struct RememberedState {
    sessions: HashMap<TokenDigest, RememberedSession>,
    /// True while a task removes the old sessions.
    is_swept: bool,
}

struct RememberedSession {
    session: Arc<OpenSession>,

    /// The end of the second, or of the session if that is earlier.
    until: Timestamp,

    /// Number of renewals of the user's tokens when the session was opened.
    renewals: u64,

    since: Instant,
}

impl RememberedSessions {
    /// Returns the session of this access token if a call opened it within the last second, it has not ended, and the user's
    /// tokens were not renewed since.
    pub(super) fn get(&self, token: &TokenDigest, now: Timestamp) -> Option<Arc<OpenSession>> {
        let state = self.lock();
        let opened = state.sessions.get(token)?;
        let signal = &opened.session.end_signal;
        let is_current = now < opened.until && !signal.has_ended() && signal.renewals() == opened.renewals;
        is_current.then(|| Arc::clone(&opened.session))
    }

    /// Remembers a session for a second. `renewals` is the number from before the session was loaded, `ends_at` the time
    /// at which its record expires.
    pub(super) fn insert(
        &self,
        token: TokenDigest,
        session: Arc<OpenSession>,
        renewals: u64,
        now: Timestamp,
        ends_at: Timestamp,
    ) {
        let life = SignedDuration::try_from(LIFE).unwrap_or_default();
        let until = later(now, life).min(session.expires_at).min(ends_at);
        let opened = RememberedSession {
            session,
            until,
            renewals,
            since: Instant::now(),
        };
        let mut state = self.lock();
        if state.sessions.len() >= MAX_SESSIONS && !state.sessions.contains_key(&token) {
            return;
        }
        let before = state.sessions.insert(token, opened);
        if !std::mem::replace(&mut state.is_swept, true) {
            tokio::spawn(self.clone().sweep());
        }
        drop(state);
        drop(before);
    }

    /// Removes old sessions until none is left, so that no token stays in memory without calls.
    async fn sweep(self) {
        loop {
            sleep(SWEEP).await;
            let mut state = self.lock();
            let is_old = |_: &TokenDigest, opened: &mut RememberedSession| opened.since.elapsed() >= LIFE;
            let old: Vec<_> = state.sessions.extract_if(is_old).collect();
            state.is_swept = !state.sessions.is_empty();
            let is_last = !state.is_swept;
            drop(state);
            drop(old);
            if is_last {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RememberedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::{Secret, TokenSet, UserIdentity};

    use super::*;
    use crate::access::Scopes;
    use crate::keys::SystemRandom;
    use crate::session_id::{SessionId, SessionSecret};
    use crate::sessions::end_signal::EndSignals;
    use crate::sessions::user_tokens::UserTokens;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(milliseconds: i64) -> Timestamp {
        NOW + SignedDuration::from_millis(milliseconds)
    }

    fn token(number: usize) -> TokenDigest {
        TokenDigest::of(&Secret::new(number.to_string()))
    }

    fn session(signals: &EndSignals) -> Arc<OpenSession> {
        let id = SessionId::generate(&SystemRandom);
        let secret = SessionSecret::generate(&SystemRandom);
        Arc::new(OpenSession {
            id,
            user: Arc::new(UserIdentity {
                tid: "t".to_owned(),
                oid: "o".to_owned(),
            }),
            client_id: "c".to_owned(),
            registered_label: None,
            scopes: Scopes::ALL,
            has_record: true,
            signed_in_at: NOW,
            expires_at: after(3_600_000),
            ends_at: after(7_200_000),
            end_signal: signals.subscribe(id, &secret),
            secret,
            tokens: UserTokens::without_record(TokenSet {
                access_token: Secret::new("user token"),
                expires_at: after(3_600_000),
                refresh_token: None,
                id_token: None,
            }),
        })
    }

    fn insert(remembered: &RememberedSessions, number: usize, session: &Arc<OpenSession>) {
        remembered.insert(token(number), Arc::clone(session), 0, NOW, session.ends_at);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_remembered_for_a_second_under_its_token_and_then_leaves_memory() {
        let (remembered, signals) = (RememberedSessions::default(), EndSignals::default());
        insert(&remembered, 1, &session(&signals));
        assert!(remembered.get(&token(1), after(999)).is_some());
        assert!(remembered.get(&token(2), NOW).is_none());
        assert!(remembered.get(&token(1), after(1000)).is_none());
        tokio::time::sleep(LIFE * 2).await;
        assert_eq!((remembered.lock().sessions.len(), signals.open().len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_session_is_not_remembered_and_one_opened_later_is() {
        let (remembered, signals) = (RememberedSessions::default(), EndSignals::default());
        let [ended, other] = [session(&signals), session(&signals)];
        insert(&remembered, 1, &ended);
        insert(&remembered, 2, &other);
        signals.send(&ended.id);
        assert!(remembered.get(&token(1), NOW).is_none());
        assert!(remembered.get(&token(2), NOW).is_some());
        // An end that comes while a call opens the session is not lost.
        insert(&remembered, 1, &ended);
        assert!(remembered.get(&token(1), NOW).is_none());
        insert(&remembered, 1, &session(&signals));
        assert!(remembered.get(&token(1), NOW).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_of_the_users_tokens_makes_the_remembered_ones_old() {
        let (remembered, signals) = (RememberedSessions::default(), EndSignals::default());
        let session = session(&signals);
        insert(&remembered, 1, &session);
        session.end_signal.count_renewal();
        assert!(remembered.get(&token(1), NOW).is_none());
        // A call that read the record before the renewal.
        insert(&remembered, 1, &session);
        assert!(remembered.get(&token(1), NOW).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_not_remembered_beyond_its_own_end() {
        let (remembered, signals) = (RememberedSessions::default(), EndSignals::default());
        let session = session(&signals);
        remembered.insert(token(1), Arc::clone(&session), 0, NOW, after(100));
        assert!(remembered.get(&token(1), after(99)).is_some());
        assert!(remembered.get(&token(1), after(100)).is_none());
        let short = Arc::new(OpenSession {
            expires_at: after(200),
            ..OpenSession::clone(&session)
        });
        insert(&remembered, 2, &short);
        assert!(remembered.get(&token(2), after(199)).is_some());
        assert!(remembered.get(&token(2), after(200)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_sessions_is_bounded() {
        let (remembered, signals) = (RememberedSessions::default(), EndSignals::default());
        let session = session(&signals);
        for number in 0..=MAX_SESSIONS {
            insert(&remembered, number, &session);
        }
        assert!(remembered.get(&token(MAX_SESSIONS - 1), NOW).is_some());
        assert!(remembered.get(&token(MAX_SESSIONS), NOW).is_none());
    }
}
