//! Renewals of users' tokens. Each session has at most one in flight, and a pause after a failure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use behalf_entra::{Clock, Secret, TokenSet};
use futures::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};

use super::error::SessionError;
use super::later;
use crate::session_id::SessionId;

/// The result of a renewal, for all calls that wait for it.
pub(super) type Renewed = Result<Arc<TokenSet>, SessionError>;

/// A renewal in flight.
pub(super) type Flight = Shared<BoxFuture<'static, Renewed>>;

/// The renewals of this process, by session.
#[derive(Default)]
pub(super) struct Renewals(Mutex<HashMap<SessionId, Renewal>>);

enum Renewal {
    InFlight(Flight),
    Paused(RenewalPause),
}

/// The time until the next renewal of a session may start, and the result that calls get until then.
#[derive(Clone, Debug)]
pub(super) struct RenewalPause {
    until: Timestamp,
    result: Renewed,
}

/// The result of [`Renewals::join`].
pub(super) enum Joined {
    /// A renewal is in flight. This call or an earlier one started it.
    Flight(Flight),

    /// The last renewal failed, or its tokens could not be stored, and its pause has not ended.
    Paused(Renewed),
}

impl Renewals {
    /// Joins the session's renewal in flight, or starts one with `begin` unless a pause forbids it. A pause does not count if
    /// it would return the token `refused`.
    pub(super) fn join(
        &self,
        id: SessionId,
        now: Timestamp,
        refused: Option<&Secret>,
        begin: impl FnOnce() -> Flight,
    ) -> Joined {
        let mut renewals = self.renewals();
        match renewals.get(&id) {
            Some(Renewal::InFlight(flight)) => return Joined::Flight(flight.clone()),
            Some(Renewal::Paused(pause)) if pause.until > now && !pause.gives(refused) => {
                return Joined::Paused(pause.result_at(now));
            }
            _ => {}
        }
        let flight = begin();
        renewals.insert(id, Renewal::InFlight(flight.clone()));
        Joined::Flight(flight)
    }

    /// Returns a guard that ends the session's renewal when it is dropped, also by a panic. Otherwise the
    /// session's calls would join the broken renewal for ever.
    pub(super) fn guard<'a>(&'a self, id: SessionId, clock: &'a dyn Clock) -> RenewalGuard<'a> {
        RenewalGuard {
            renewals: self,
            id,
            clock,
            pause: None,
        }
    }

    /// Ends the session's renewal. With a `pause`, the next renewal waits.
    fn finish(&self, id: SessionId, now: Timestamp, pause: Option<RenewalPause>) {
        let mut renewals = self.renewals();
        renewals.remove(&id);
        if let Some(pause) = pause {
            // The map has one entry for each renewal that is in flight or failed recently.
            renewals.retain(|_, other| !matches!(other, Renewal::Paused(other) if other.until <= now));
            renewals.insert(id, Renewal::Paused(pause));
        }
    }

    fn renewals(&self) -> MutexGuard<'_, HashMap<SessionId, Renewal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a session's renewal when it is dropped.
pub(super) struct RenewalGuard<'a> {
    renewals: &'a Renewals,
    id: SessionId,
    clock: &'a dyn Clock,

    /// The pause before the session's next renewal.
    pub(super) pause: Option<RenewalPause>,
}

impl Drop for RenewalGuard<'_> {
    fn drop(&mut self) {
        self.renewals.finish(self.id, self.clock.now(), self.pause.take());
    }
}

impl RenewalPause {
    /// Creates a pause of `length` in which calls get `result`.
    pub(super) fn new(now: Timestamp, length: Duration, result: Renewed) -> Self {
        let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        Self {
            until: later(now, length),
            result,
        }
    }

    /// Returns the result that began the pause. An error has the rest of the pause as time to wait.
    fn result_at(&self, now: Timestamp) -> Renewed {
        let left = Duration::try_from(self.until.duration_since(now)).unwrap_or_default();
        match &self.result {
            Err(SessionError::Unavailable { source, .. }) => Err(SessionError::Unavailable {
                retry_after: Some(left),
                source: source.clone(),
            }),
            other => other.clone(),
        }
    }

    /// True if calls get the token that was `refused`.
    fn gives(&self, refused: Option<&Secret>) -> bool {
        let tokens = self.result.as_ref().ok();
        tokens.is_some_and(|tokens| Some(&tokens.access_token) == refused)
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::{EntraError, FixedClock};
    use futures::FutureExt as _;

    use super::*;
    use crate::keys::SystemRandom;
    use crate::sessions::Unavailable;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn outage() -> SessionError {
        SessionError::Unavailable {
            retry_after: None,
            source: Unavailable::Entra(EntraError::TimedOut),
        }
    }

    fn never() -> Flight {
        futures::future::pending().boxed().shared()
    }

    fn is_flight(joined: &Joined) -> bool {
        matches!(joined, Joined::Flight(_))
    }

    #[test]
    fn one_session_shares_its_renewal_and_another_has_its_own() {
        let renewals = Renewals::default();
        let [one, other] = [(); 2].map(|()| SessionId::generate(&SystemRandom));
        assert!(is_flight(&renewals.join(one, START, None, never)));
        let second = renewals.join(one, START, None, || unreachable!("a second renewal began"));
        assert!(is_flight(&second));
        let mut begun = false;
        renewals.join(other, START, None, || {
            begun = true;
            never()
        });
        assert!(begun);
    }

    #[test]
    fn after_a_failure_no_renewal_begins_before_the_pause_has_ended() {
        let renewals = Renewals::default();
        let id = SessionId::generate(&SystemRandom);
        renewals.join(id, START, None, never);
        let pause = RenewalPause::new(START, Duration::from_secs(15), Err(outage()));
        renewals.finish(id, START, Some(pause));

        let early = later(START, SignedDuration::from_secs(14));
        let Joined::Paused(Err(error)) = renewals.join(id, early, None, || unreachable!("asked too early"))
        else {
            panic!("no pause")
        };
        let SessionError::Unavailable { retry_after, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(retry_after, Some(Duration::from_secs(1)));
        let end = later(START, SignedDuration::from_secs(15));
        assert!(is_flight(&renewals.join(id, end, None, never)));
    }

    #[tokio::test]
    async fn a_renewal_that_panics_does_not_break_its_session() {
        let renewals = Arc::new(Renewals::default());
        let id = SessionId::generate(&SystemRandom);
        let broken = Arc::clone(&renewals);
        let flight = async move {
            let clock = FixedClock::new(START);
            let _guard = broken.guard(id, &clock);
            panic!("a defect")
        };
        let joined = renewals.join(id, START, None, || flight.boxed().shared());
        let Joined::Flight(flight) = joined else {
            panic!("no flight")
        };
        assert!(tokio::spawn(flight).await.is_err());
        let mut begun = false;
        renewals.join(id, START, None, || {
            begun = true;
            never()
        });
        assert!(begun);
    }

    #[test]
    fn ended_renewals_and_pauses_leave_no_entries() {
        let renewals = Renewals::default();
        for second in 0..100 {
            let now = later(START, SignedDuration::from_secs(second));
            let id = SessionId::generate(&SystemRandom);
            renewals.join(id, now, None, never);
            let pause =
                (second % 2 == 0).then(|| RenewalPause::new(now, Duration::from_secs(1), Err(outage())));
            renewals.finish(id, now, pause);
        }
        assert!(renewals.renewals().len() <= 1);
    }
}
