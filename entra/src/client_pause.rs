//! Pauses requests to Entra after it failed, limited their rate or refused the application.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::error::EntraError;
use crate::pause::{MAX_PAUSE, MIN_PAUSE, end_of, left};

/// Time for the first request after a pause. If it brings no answer within this time, the next request goes
/// first.
const FIRST_REQUEST: Duration = MIN_PAUSE;

/// The pause of the token requests of one client. Entra limits the rate of requests for each application,
/// and refuses an application for all its users. One such answer therefore applies to every user of the process.
///
/// Three rules:
/// 1. Each answer 429 or refused client begins a pause at once, or prolongs it.
/// 2. When the time is over, one request goes first. The others wait for its answer, so that all sessions do
///    not start together.
/// 3. A token or another refusal for that request ends the pause. After an outage the next request goes first.
///
/// Each [`RequestKind`] follows them in its own way.
#[derive(Default)]
pub(crate) struct ClientPause(Mutex<Option<Ongoing>>);

/// The kinds of token requests that differ in the pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A refresh or an exchange for a user: it begins pauses, and waits for their end.
    User,

    /// A request for the application itself, as the probe of the federation sends. It waits after 429. It does not wait after
    /// a refused client, because it finds out whether the application is accepted again: its success ends that pause. Its
    /// refusal begins none, because Entra may refuse the application's own requests and accept those for users.
    Application,

    /// The redemption of a code: it does not wait, and begins no pause. A code is valid once and for minutes, and a
    /// user waits for it. A stream of logins, which are never held back, would prolong a pause without end. The
    /// next request of another kind finds out for itself.
    Code,
}

struct Ongoing {
    until: Timestamp,

    /// True after the demanded time, while the first request waits for its answer.
    goes_first: bool,

    cause: Arc<EntraError>,
}

impl ClientPause {
    /// Records the result of one request to Entra.
    pub(crate) fn observe<T>(&self, kind: RequestKind, result: &Result<T, EntraError>, now: Timestamp) {
        match (kind, result) {
            (RequestKind::Code, _) => {}
            (_, Err(error @ EntraError::Throttled { .. })) => self.begin(error, now),
            (RequestKind::User, Err(error)) if error.refuses_the_client() => self.begin(error, now),
            (RequestKind::Application, Ok(_)) => {
                self.end(|pause| pause.goes_first || pause.is_of_a_refused_client());
            }
            (RequestKind::Application, Err(error)) if error.refuses_the_client() => {
                self.end(|pause| pause.goes_first && !pause.is_of_a_refused_client());
            }
            // An answer to a request from before the pause does not end it.
            (RequestKind::User, Ok(_)) | (_, Err(EntraError::Refused(_))) => {
                self.end(|pause| pause.goes_first);
            }
            (_, Err(_)) => {}
        }
    }

    /// Returns the error of a request that is not sent because of a pause. The first caller after the end of the
    /// pause may send its request, and begins a short pause for all others. Returns true to that caller.
    pub(crate) fn check(&self, kind: RequestKind, now: Timestamp) -> Result<bool, EntraError> {
        let mut pause = self.pause();
        let Some(pause) = &mut *pause else {
            return Ok(false);
        };
        if kind == RequestKind::Code || kind == RequestKind::Application && pause.is_of_a_refused_client() {
            return Ok(false);
        }
        // More than the longest pause is left only after the clock went back.
        if let Some(after) = left(now, pause.until).filter(|after| *after <= MAX_PAUSE) {
            return Err(EntraError::Paused {
                after,
                cause: Arc::clone(&pause.cause),
            });
        }
        pause.until = end_of(FIRST_REQUEST, now);
        pause.goes_first = true;
        Ok(true)
    }

    fn begin(&self, error: &EntraError, now: Timestamp) {
        let until = end_of(error.pause(), now);
        let mut pause = self.pause();
        if pause
            .as_ref()
            .is_none_or(|pause| pause.goes_first || pause.until < until)
        {
            *pause = Some(Ongoing {
                until,
                goes_first: false,
                cause: Arc::new(error.clone()),
            });
        }
    }

    fn end(&self, ends: impl FnOnce(&Ongoing) -> bool) {
        let mut pause = self.pause();
        if pause.as_ref().is_some_and(ends) {
            *pause = None;
        }
    }

    fn pause(&self) -> MutexGuard<'_, Option<Ongoing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ongoing {
    fn is_of_a_refused_client(&self) -> bool {
        self.cause.refuses_the_client()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::refusal::Refusal;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn throttled(seconds: Option<u64>) -> EntraError {
        EntraError::Throttled {
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    #[rstest]
    #[case(None, 15)]
    #[case(Some(0), 15)]
    #[case(Some(40), 40)]
    #[case(Some(86_400), 600)]
    fn a_pause_is_retry_after_within_bounds(#[case] asked: Option<u64>, #[case] seconds: u64) {
        assert_eq!(throttled(asked).pause(), Duration::from_secs(seconds));
    }

    fn observe(client_pause: &ClientPause, error: EntraError, now: Timestamp) {
        client_pause.observe(RequestKind::User, &Err::<(), _>(error), now);
    }

    fn succeed(client_pause: &ClientPause, now: Timestamp) {
        client_pause.observe(RequestKind::User, &Ok(()), now);
    }

    #[test]
    fn no_request_is_sent_before_the_end_of_the_longest_pause() {
        let client_pause = ClientPause::default();
        assert!(client_pause.check(RequestKind::User, START).is_ok());
        observe(&client_pause, throttled(Some(40)), START);
        observe(&client_pause, throttled(None), after(1));
        let refused = client_pause.check(RequestKind::User, after(30)).unwrap_err();
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(10)));
        assert!(client_pause.check(RequestKind::User, after(39)).is_err());
        assert!(client_pause.check(RequestKind::User, after(40)).is_ok());
    }

    #[test]
    fn only_throttling_pauses_all_requests() {
        let client_pause = ClientPause::default();
        observe(&client_pause, EntraError::TimedOut, START);
        assert!(client_pause.check(RequestKind::User, START).is_ok());
    }

    #[test]
    fn after_a_pause_one_request_goes_first_and_its_answer_ends_the_pause() {
        let client_pause = ClientPause::default();
        observe(&client_pause, throttled(Some(40)), START);
        assert!(client_pause.check(RequestKind::User, after(40)).is_ok());
        let second = client_pause.check(RequestKind::User, after(40)).unwrap_err();
        assert_eq!(second.retry_after(), Some(FIRST_REQUEST));
        succeed(&client_pause, after(41));
        assert!(client_pause.check(RequestKind::User, after(41)).is_ok());
        assert!(client_pause.check(RequestKind::User, after(41)).is_ok());
    }

    #[test]
    fn a_first_request_that_is_throttled_begins_the_next_pause() {
        let client_pause = ClientPause::default();
        observe(&client_pause, throttled(Some(40)), START);
        assert!(client_pause.check(RequestKind::User, after(40)).is_ok());
        observe(&client_pause, throttled(Some(15)), after(41));
        assert!(client_pause.check(RequestKind::User, after(55)).is_err());
        assert!(client_pause.check(RequestKind::User, after(56)).is_ok());
    }

    #[test]
    fn a_first_request_without_an_answer_is_followed_by_another() {
        let client_pause = ClientPause::default();
        observe(&client_pause, throttled(Some(40)), START);
        assert!(client_pause.check(RequestKind::User, after(40)).is_ok());
        observe(&client_pause, EntraError::TimedOut, after(45));
        assert!(client_pause.check(RequestKind::User, after(54)).is_err());
        assert!(client_pause.check(RequestKind::User, after(55)).is_ok());
        assert!(client_pause.check(RequestKind::User, after(55)).is_err());
    }

    #[test]
    fn a_refused_probe_does_not_end_the_pause_of_a_refused_client() {
        let client_pause = ClientPause::default();
        let refused = || EntraError::Refused(Box::new(Refusal::from_redirect("invalid_client", None)));
        observe(&client_pause, refused(), START);
        assert_eq!(client_pause.check(RequestKind::User, after(15)).ok(), Some(true));
        client_pause.observe(RequestKind::Application, &Err::<(), _>(refused()), after(16));
        assert!(
            client_pause.check(RequestKind::User, after(16)).is_err(),
            "a second request while one goes first"
        );
        client_pause.observe(RequestKind::Application, &Ok(()), after(17));
        assert_eq!(client_pause.check(RequestKind::User, after(17)).ok(), Some(false));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_prolong_a_pause() {
        let client_pause = ClientPause::default();
        observe(&client_pause, throttled(Some(40)), after(3600));
        assert_eq!(client_pause.check(RequestKind::User, START).ok(), Some(true));
    }

    #[test]
    fn an_answer_to_a_request_from_before_the_pause_does_not_end_it() {
        let client_pause = ClientPause::default();
        observe(&client_pause, throttled(Some(40)), START);
        succeed(&client_pause, after(1));
        assert!(client_pause.check(RequestKind::User, after(39)).is_err());
    }
}
