//! Ends what is open of a session when the session ends.
//!
//! In this process only: with the memory store there is no other. A shared store has to carry the news between
//! replicas, and each calls [`Lifelines::cut`] when it comes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::limits::weak_map::{Held, Registry};
use crate::session_id::SessionId;

/// The sessions that something of this process goes on for.
#[derive(Clone, Default)]
pub(super) struct Lifelines(Registry<SessionId, CancellationToken>);

/// The cancellation of one session's open requests and streams.
#[derive(Clone)]
pub(crate) struct Lifeline(Arc<Held<SessionId, CancellationToken>>);

impl Lifelines {
    /// The session's lifeline. Taken before the session is looked up, so that no end of it is missed.
    pub(super) fn hold(&self, id: SessionId) -> Lifeline {
        Lifeline(self.0.hold(id, CancellationToken::new))
    }

    /// Ends everything that hangs on the session's lifeline. What comes later has a new one.
    pub(super) fn cut(&self, id: &SessionId) {
        if let Some(cut) = self.0.take(id) {
            cut.cancel();
        }
    }
}

impl Lifeline {
    /// Returns when the session has ended.
    pub(super) fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.0.cancelled()
    }

    /// Returns when the session has ended, at the latest after `left`. Holds on until then: the session's end is
    /// heard of only while somebody does.
    pub(crate) async fn ended_within(self, left: Duration) {
        // Nobody has to hear which of the two it was.
        let _ = tokio::time::timeout(left, self.ended()).await;
    }
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lifeline({})", self.0.key())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::keys::SystemRandom;

    fn is_cut(lifeline: &Lifeline) -> bool {
        lifeline.ended().now_or_never().is_some()
    }

    #[test]
    fn a_cut_ends_all_that_holds_on_and_nothing_else() {
        let lifelines = Lifelines::default();
        let [one, other] = [(); 2].map(|()| SessionId::generate(&SystemRandom));
        let held = [lifelines.hold(one), lifelines.hold(one)];
        let others = lifelines.hold(other);
        lifelines.cut(&one);
        assert!(held.iter().all(is_cut) && !is_cut(&others));
        assert!(!is_cut(&lifelines.hold(one)), "a later request is judged anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_ends_with_the_session_or_in_time() {
        const HOUR: Duration = Duration::from_hours(1);
        let lifelines = Lifelines::default();
        let id = SessionId::generate(&SystemRandom);
        let began = tokio::time::Instant::now();
        lifelines.hold(id).ended_within(HOUR).await;
        assert_eq!(began.elapsed(), HOUR);
        let cut = Box::pin(lifelines.hold(id).ended_within(HOUR));
        lifelines.cut(&id);
        cut.await;
        assert_eq!(began.elapsed(), HOUR, "at once");
    }

    #[test]
    fn what_is_let_go_leaves_nothing_behind() {
        let lifelines = Lifelines::default();
        let id = SessionId::generate(&SystemRandom);
        let held = [lifelines.hold(id), lifelines.hold(id)];
        lifelines.cut(&id);
        let later = lifelines.hold(id);
        drop(held);
        assert_eq!(lifelines.0.len(), 1, "the later one is not taken along");
        drop(later);
        assert_eq!(lifelines.0.len(), 0);
        lifelines.cut(&id);
    }
}
