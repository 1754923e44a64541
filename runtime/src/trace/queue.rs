//! The spans that wait for the collector. They are bounded, because clients cause them and the collector may be away.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::caller::Caller;
use super::otlp::OtlpSpan;

/// Maximum number of spans that wait: 1 to 2 MiB. It is the default of the OpenTelemetry SDKs.
const MAX_WAITING: usize = 2048;

/// Maximum number of spans that wait before those of a stranger are dropped. Anybody can send requests without a session,
/// and they must not displace the spans of users.
const MAX_WAITING_OF_STRANGERS: usize = MAX_WAITING / 2;

/// Maximum number of spans of one user that wait. A user who makes more calls than are exported loses own spans, and the spans of
/// others still find room.
const MAX_WAITING_OF_USER: usize = MAX_WAITING / 4;

/// Why spans did not reach the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Too many waited.
    QueueFull,
    /// The request already had the maximum number of spans.
    RequestFull,
    /// The collector did not accept them.
    NotAccepted,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::RequestFull, Self::NotAccepted];

    /// The reason as the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::RequestFull => "request_full",
            Self::NotAccepted => "not_accepted",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    spans: Mutex<Vec<(Caller, OtlpSpan)>>,
    filled: Notify,
}

impl Queue {
    /// Adds the spans of one request. Returns false if there is no room for all of them.
    pub(super) fn push(&self, spans: Vec<OtlpSpan>, caller: Caller) -> bool {
        let mut waiting = self.waiting();
        let all = waiting.len() + spans.len();
        let fits = match caller {
            Caller::Stranger => all <= MAX_WAITING_OF_STRANGERS,
            Caller::Program => all <= MAX_WAITING,
            // Most of the time so few spans wait that nobody's are counted.
            Caller::User(_) if all <= MAX_WAITING_OF_USER => true,
            Caller::User(_) => {
                let own = waiting.iter().filter(|(other, _)| *other == caller).count();
                all <= MAX_WAITING && own + spans.len() <= MAX_WAITING_OF_USER
            }
        };
        if !fits {
            return false;
        }
        waiting.extend(spans.into_iter().map(|span| (caller, span)));
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// Returns when spans wait.
    pub(super) async fn filled(&self) {
        while self.waiting().is_empty() {
            self.filled.notified().await;
        }
    }

    /// Removes the oldest spans, at most `most`.
    pub(super) fn take(&self, most: usize) -> Vec<OtlpSpan> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(most);
        waiting.drain(..count).map(|(_, span)| span).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Caller, OtlpSpan)>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(count: usize) -> Vec<OtlpSpan> {
        vec![OtlpSpan::default(); count]
    }

    #[test]
    fn the_queue_is_bounded_and_takes_a_request_as_a_whole() {
        let queue = Queue::default();
        for user in 0..3 {
            assert!(queue.push(spans(MAX_WAITING_OF_USER), Caller::user(&user)));
        }
        assert!(queue.push(spans(MAX_WAITING_OF_USER - 1), Caller::user(&3)));
        assert!(!queue.push(spans(2), Caller::user(&4)));
        assert!(queue.push(spans(1), Caller::user(&4)));
        assert_eq!(queue.take(usize::MAX).len(), MAX_WAITING);
        assert!(queue.push(spans(2), Caller::user(&4)), "there is room again");
    }

    #[test]
    fn strangers_leave_room_for_users() {
        let queue = Queue::default();
        while queue.push(spans(3), Caller::Stranger) {}
        for user in 0..2 {
            assert!(queue.push(spans(MAX_WAITING_OF_USER), Caller::user(&user)));
        }
    }

    #[test]
    fn a_user_with_many_calls_leaves_room_for_others() {
        let queue = Queue::default();
        let (ana, ben) = (Caller::user("ana"), Caller::user("ben"));
        while queue.push(spans(3), ana) {}
        assert!(queue.push(spans(MAX_WAITING_OF_USER), ben));
        assert!(!queue.push(spans(3), ana));
        queue.take(3);
        assert!(queue.push(spans(3), ana), "there is room again");
    }

    #[test]
    fn the_oldest_spans_are_taken_first() {
        let queue = Queue::default();
        for name in ["a", "b", "c"] {
            let span = OtlpSpan {
                name: name.to_owned(),
                ..OtlpSpan::default()
            };
            assert!(queue.push(vec![span], Caller::user("ana")));
        }
        let names = |spans: Vec<OtlpSpan>| spans.into_iter().map(|span| span.name).collect::<String>();
        assert_eq!(names(queue.take(2)), "ab");
        assert_eq!(names(queue.take(2)), "c");
    }
}
