//! The spans that wait for the collector. They are bounded, because clients cause them and the collector may be away.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::otlp::Span;
use super::span::Caller;

/// Maximum number of spans that wait: 1 to 2 MiB. It is the default of the OpenTelemetry SDKs.
const MOST: usize = 2048;

/// Maximum number of spans that wait before those of a stranger are dropped. Anybody can send requests without a session,
/// and they must not displace the spans of users.
const MOST_OF_STRANGERS: usize = MOST / 2;

/// Why spans did not reach the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Too many waited.
    QueueFull,
    /// The collector did not accept them.
    NotAccepted,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::QueueFull, Self::NotAccepted];

    /// The reason as the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotAccepted => "not_accepted",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    spans: Mutex<Vec<Span>>,
    filled: Notify,
}

impl Queue {
    /// Adds the spans of one request. Returns false if there is no room for all of them.
    pub(super) fn push(&self, mut spans: Vec<Span>, caller: Caller) -> bool {
        let most = match caller {
            Caller::Known => MOST,
            Caller::Stranger => MOST_OF_STRANGERS,
        };
        let mut waiting = self.waiting();
        if waiting.len() + spans.len() > most {
            return false;
        }
        waiting.append(&mut spans);
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
    pub(super) fn take(&self, most: usize) -> Vec<Span> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(most);
        waiting.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(count: usize) -> Vec<Span> {
        vec![Span::default(); count]
    }

    #[test]
    fn the_queue_is_bounded_and_takes_a_request_as_a_whole() {
        let queue = Queue::default();
        assert!(queue.push(spans(MOST - 1), Caller::Known));
        assert!(!queue.push(spans(2), Caller::Known));
        assert!(queue.push(spans(1), Caller::Known));
        assert_eq!(queue.take(usize::MAX).len(), MOST);
        assert!(queue.push(spans(2), Caller::Known), "there is room again");
    }

    #[test]
    fn strangers_leave_room_for_users() {
        let queue = Queue::default();
        while queue.push(spans(3), Caller::Stranger) {}
        assert!(queue.push(spans(MOST / 2), Caller::Known));
    }

    #[test]
    fn the_oldest_spans_are_taken_first() {
        let queue = Queue::default();
        for name in ["a", "b", "c"] {
            let span = Span {
                name: name.to_owned(),
                ..Span::default()
            };
            assert!(queue.push(vec![span], Caller::Known));
        }
        let names = |spans: Vec<Span>| spans.into_iter().map(|span| span.name).collect::<String>();
        assert_eq!(names(queue.take(2)), "ab");
        assert_eq!(names(queue.take(2)), "c");
    }
}
