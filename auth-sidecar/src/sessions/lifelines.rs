//! Ends what is open of a session when the session ends.
//!
//! In this process only: with the memory store there is no other. A shared store has to carry the news between
//! replicas, and each calls [`Lifelines::cut`] when it comes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::identifiers::SessionId;

/// The sessions that something of this process goes on for.
#[derive(Clone, Default)]
pub(super) struct Lifelines(Arc<Mutex<HashMap<SessionId, Weak<Lifeline>>>>);

/// What one session's open requests and streams hang on.
pub(crate) struct Lifeline {
    id: SessionId,
    cut: CancellationToken,
    all: Lifelines,
}

impl Lifelines {
    /// The session's lifeline. Taken before the session is looked up, so that no end of it is missed.
    pub(super) fn hold(&self, id: SessionId) -> Arc<Lifeline> {
        let mut held = self.held();
        if let Some(lifeline) = held.get(&id).and_then(Weak::upgrade) {
            return lifeline;
        }
        let lifeline = Arc::new(Lifeline {
            id,
            cut: CancellationToken::new(),
            all: self.clone(),
        });
        held.insert(id, Arc::downgrade(&lifeline));
        lifeline
    }

    /// Ends everything that hangs on the session's lifeline. What comes later has a new one.
    pub(super) fn cut(&self, id: &SessionId) {
        let held = self.held().remove(id);
        // The lock is free again: if this is the last holder, dropping it takes the lock.
        if let Some(lifeline) = held.as_ref().and_then(Weak::upgrade) {
            lifeline.cut.cancel();
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SessionId, Weak<Lifeline>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lifeline {
    /// Returns when the session has ended.
    pub(super) fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.cut.cancelled()
    }

    /// Returns when the session has ended, at the latest after `left`. Holds on until then: the session's end is
    /// heard of only while somebody does.
    pub(crate) async fn ended_within(self: Arc<Self>, left: Duration) {
        // Nobody has to hear which of the two it was.
        let _ = tokio::time::timeout(left, self.ended()).await;
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let mut held = self.all.held();
        // Another may have taken the place since the last holder let go.
        if held
            .get(&self.id)
            .is_some_and(|kept| std::ptr::eq(kept.as_ptr(), self))
        {
            held.remove(&self.id);
        }
    }
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lifeline({})", self.id)
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
        assert!(held.iter().all(|held| is_cut(held)) && !is_cut(&others));
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
        assert_eq!(lifelines.held().len(), 1, "the later one is not taken along");
        drop(later);
        assert!(lifelines.held().is_empty());
        lifelines.cut(&id);
    }
}
