//! Lists of different kinds, a few at a time.
//!
//! The text of a list is in memory several times while it is received and decoded. When the operator gets the Lease, every watch
//! begins with a list, and so does every watch whose version the API server no longer has.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Maximum number of watches that list at the same time.
const AT_ONCE: usize = 4;

/// Maximum time that a watch keeps its permit without an answer, so that lists which get none do not stop the others.
const SILENCE: Duration = Duration::from_secs(10);

/// The permits of watches to list.
#[derive(Debug, Clone)]
pub(super) struct ListPermits(Arc<Semaphore>);

impl Default for ListPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// The events of a watch, and the permit that it has while it lists.
struct Listing<K> {
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    permit: Option<OwnedSemaphorePermit>,

    /// Whether the next event comes from a list.
    lists: bool,
}

impl ListPermits {
    /// Returns the events of a watch, which waits for a permit before it lists.
    pub(super) fn limited<K: Send + 'static>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    ) -> BoxStream<'static, watcher::Result<Event<K>>> {
        let permits = self.0.clone();
        let watch = Listing {
            events: events.boxed(),
            permit: None,
            lists: false,
        };
        unfold((watch, permits), |(mut watch, permits)| async move {
            if watch.lists && watch.permit.is_none() {
                // It fails only if somebody closes the semaphore.
                watch.permit = permits.clone().acquire_owned().await.ok();
            }
            let answer = timeout(SILENCE, watch.events.next()).await;
            let event = if let Ok(event) = answer {
                event?
            } else {
                watch.permit = None;
                watch.events.next().await?
            };
            // kube asks for the first page after this event.
            watch.lists = matches!(event, Ok(Event::Init | Event::InitApply(_)));
            if !watch.lists {
                watch.permit = None;
            }
            Some((event, (watch, permits)))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, stream};
    use rstest::rstest;

    use super::*;

    type Events = BoxStream<'static, watcher::Result<Event<()>>>;

    /// A watch that yields these events, and then waits for an answer.
    fn watch(permits: &ListPermits, events: Vec<watcher::Result<Event<()>>>) -> Events {
        permits.limited(stream::iter(events).chain(stream::pending()))
    }

    fn has_next(watch: &mut Events) -> bool {
        watch.next().now_or_never().flatten().is_some()
    }

    #[rstest]
    #[case::has_listed(Ok(Event::InitDone))]
    #[case::failed(Err(watcher::Error::NoResourceVersion))]
    #[tokio::test]
    async fn a_watch_lists_only_when_another_one(#[case] end: watcher::Result<Event<()>>) {
        let permits = ListPermits::default();
        let mut others: Vec<_> = (1..AT_ONCE)
            .map(|_| watch(&permits, vec![Ok(Event::Init)]))
            .collect();
        for other in &mut others {
            assert!(has_next(other));
            assert!(!has_next(other), "its list gets no answer");
        }
        let mut before = watch(&permits, vec![Ok(Event::Init), Ok(Event::InitApply(())), end]);
        let mut waits = watch(&permits, vec![Ok(Event::Init), Ok(Event::InitDone)]);
        assert!(has_next(&mut before) && has_next(&mut before));
        assert!(has_next(&mut waits), "this event comes before the list");
        assert!(!has_next(&mut waits));
        assert!(has_next(&mut before));
        assert!(has_next(&mut waits));
    }
    #[tokio::test(start_paused = true)]
    async fn lists_without_an_answer_do_not_stop_the_others() {
        let permits = ListPermits::default();
        let silent = (0..AT_ONCE).map(|_| watch(&permits, vec![Ok(Event::Init)]));
        for mut silent in silent {
            assert!(has_next(&mut silent));
            tokio::spawn(async move { silent.next().await });
        }
        // The tasks take their permits.
        tokio::task::yield_now().await;
        let mut waits = watch(&permits, vec![Ok(Event::Init), Ok(Event::InitDone)]);
        assert!(has_next(&mut waits));
        let began = tokio::time::Instant::now();
        assert!(matches!(waits.next().await, Some(Ok(Event::InitDone))));
        assert_eq!(began.elapsed(), SILENCE);
    }
}
