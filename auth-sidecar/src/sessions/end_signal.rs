//! Cancels the open requests and streams of a session when the session ends, and makes its remembered state useless.
//!
//! A signal reaches the requests of this process. [`super::remote_ends`] sends it when another replica ended the
//! session.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::limits::weak_map::{WeakMap, WeakMapEntry};
use crate::session_id::{SessionId, SessionSecret};

/// The end signals of the sessions with open requests or streams in this process.
#[derive(Clone, Default)]
pub(super) struct EndSignals(WeakMap<SessionId, Signal>);

/// Tells the open requests and streams of one session that the session has ended.
#[derive(Clone)]
pub(crate) struct EndSignal(Arc<WeakMapEntry<SessionId, Signal>>);

/// The end of a session for one answer: its signal, or a moment if that comes first. It keeps the signal alive, because a
/// signal without a holder is not sent.
#[derive(Clone)]
pub(crate) struct SessionEnd {
    signal: EndSignal,
    /// `None` for a moment that is too far away.
    at: Option<Instant>,
}

struct Signal {
    token: CancellationToken,

    /// Opens the record, to look whether the session has ended. `None` for a session without a record.
    secret: Option<SessionSecret>,

    /// Unknown until the session is loaded.
    login: OnceLock<Login>,

    /// Number of renewals of the user's tokens that this process waited for.
    renewals: AtomicU64,
}

/// The login that began a session.
#[derive(Debug)]
pub(super) struct Login {
    /// Object id of the user.
    pub(super) user: String,
    pub(super) at: Timestamp,
}

impl EndSignals {
    /// Returns the session's end signal. Call it before the session is loaded, so that no end of the session is
    /// missed.
    pub(super) fn subscribe(&self, id: SessionId, secret: &SessionSecret) -> EndSignal {
        self.signal(id, Some(secret))
    }

    /// As [`Self::subscribe`], for a session without a record.
    pub(super) fn subscribe_without_record(&self, id: SessionId) -> EndSignal {
        self.signal(id, None)
    }

    fn signal(&self, id: SessionId, secret: Option<&SessionSecret>) -> EndSignal {
        let signal = || Signal {
            token: CancellationToken::new(),
            secret: secret.cloned(),
            login: OnceLock::new(),
            renewals: AtomicU64::new(0),
        };
        EndSignal(self.0.get_or_insert_with(id, signal))
    }

    /// Returns the sessions with open requests or streams that have a record, and their secrets.
    pub(super) fn open(&self) -> Vec<(SessionId, SessionSecret)> {
        let signals = self.0.entries();
        signals
            .iter()
            .filter_map(|signal| Some((*signal.key(), signal.secret.clone()?)))
            .collect()
    }

    /// Ends the open requests and streams of the session. Later requests get a new signal.
    pub(super) fn send(&self, id: &SessionId) {
        if let Some(signal) = self.0.remove(id) {
            signal.token.cancel();
        }
    }

    /// Returns the sessions with open requests or streams whose login is `wanted`.
    pub(super) fn ids_with(&self, wanted: impl Fn(&Login) -> bool) -> Vec<SessionId> {
        let entries = self.0.entries().into_iter();
        entries
            .filter(|signal| signal.login.get().is_some_and(&wanted))
            .map(|signal| *signal.key())
            .collect()
    }
}

impl EndSignal {
    /// Returns when the session has ended.
    pub(super) fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.0.token.cancelled()
    }

    /// True if the session has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Number of renewals of the user's tokens. A change makes the remembered sessions ([`super::remembered_sessions`]) old.
    pub(super) fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Acquire)
    }

    /// Counts a renewal of the user's tokens.
    pub(super) fn count_renewal(&self) {
        self.0.renewals.fetch_add(1, Ordering::Release);
    }

    /// Remembers the login of the session. Call it before the check whether the login is revoked, so that a revocation
    /// after the check finds it.
    pub(super) fn set_login(&self, user: &str, at: Timestamp) {
        // All requests of a session set the same login.
        let _ = self.0.login.get_or_init(|| Login {
            user: user.to_owned(),
            at,
        });
    }

    /// Returns the end of the session, at the latest after `left`.
    pub(crate) fn end_within(&self, left: Duration) -> SessionEnd {
        SessionEnd {
            signal: self.clone(),
            at: Instant::now().checked_add(left),
        }
    }
}

impl SessionEnd {
    /// True if the end has come.
    pub(crate) fn is_reached(&self) -> bool {
        self.signal.has_ended() || self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Returns when the end has come.
    pub(crate) async fn reached(self) {
        let ended = self.signal.ended();
        match self.at {
            Some(at) => {
                // The caller does not need to know which of the two happened.
                let _ = timeout_at(at, ended).await;
            }
            None => ended.await,
        }
    }

    /// An end without a session.
    #[cfg(test)]
    pub(crate) fn after(left: Duration) -> Self {
        let id = SessionId::from_bytes([0; 16]);
        EndSignals::default()
            .subscribe_without_record(id)
            .end_within(left)
    }
}

impl fmt::Debug for EndSignal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EndSignal({})", self.0.key())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::keys::SystemRandom;

    fn subscribe(signals: &EndSignals, id: SessionId) -> EndSignal {
        signals.subscribe(id, &SessionSecret::generate(&SystemRandom))
    }

    fn is_sent(signal: &EndSignal) -> bool {
        signal.ended().now_or_never().is_some()
    }

    #[test]
    fn a_signal_reaches_every_holder_of_its_session_and_no_other() {
        let signals = EndSignals::default();
        let [one, other] = [(); 2].map(|()| SessionId::generate(&SystemRandom));
        let held = [subscribe(&signals, one), subscribe(&signals, one)];
        let others = subscribe(&signals, other);
        signals.send(&one);
        assert!(held.iter().all(is_sent) && !is_sent(&others));
        assert!(
            !is_sent(&subscribe(&signals, one)),
            "a later request is not ended"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_with_its_session_or_after_the_given_time() {
        const HOUR: Duration = Duration::from_hours(1);
        let signals = EndSignals::default();
        let id = SessionId::generate(&SystemRandom);
        let began = Instant::now();
        let end = subscribe(&signals, id).end_within(HOUR);
        assert!(!end.is_reached());
        end.clone().reached().await;
        assert_eq!(began.elapsed(), HOUR);
        assert!(end.is_reached());
        let end = subscribe(&signals, id).end_within(HOUR);
        signals.send(&id);
        assert!(end.is_reached());
        end.reached().await;
        assert_eq!(began.elapsed(), HOUR, "at once");
    }

    #[test]
    fn a_signal_without_holders_leaves_no_entry() {
        let signals = EndSignals::default();
        let id = SessionId::generate(&SystemRandom);
        let held = [subscribe(&signals, id), subscribe(&signals, id)];
        signals.send(&id);
        let later = subscribe(&signals, id);
        drop(held);
        assert_eq!(signals.0.len(), 1, "the later signal stays");
        drop(later);
        assert_eq!(signals.0.len(), 0);
        signals.send(&id);
    }
}
