//! The objects that wait for their reconcile.
//!
//! kube's controller shows nothing of its queue. The events that enter it pass here, and a reconcile that begins takes its
//! object out. A reconcile that only the time triggers is not seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::api::v1alpha1::Guarded;

/// The objects that an event triggered and whose reconcile has not begun, with the time of the first such event.
#[derive(Debug, Clone, Default)]
pub struct Queue(Arc<Mutex<HashMap<ObjectRef<Guarded>, Instant>>>);

impl Queue {
    /// Adds the objects that an event triggers, and returns them.
    pub fn add<I>(&self, objects: I) -> I
    where
        for<'a> &'a I: IntoIterator<Item = &'a ObjectRef<Guarded>>,
    {
        let now = Instant::now();
        let mut waiting = self.lock();
        for object in &objects {
            if !waiting.contains_key(object) {
                waiting.insert(object.clone(), now);
            }
        }
        objects
    }

    /// Removes an object whose reconcile begins. Returns for how long it has waited, if an event triggered it.
    pub fn begin(&self, object: &ObjectRef<Guarded>) -> Option<Duration> {
        self.lock().remove(object).map(|since| since.elapsed())
    }

    /// Returns the number of objects.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Removes objects that no longer exist: kube reconciles them no more.
    pub fn keep_only(&self, exists: impl Fn(&ObjectRef<Guarded>) -> bool) {
        self.lock().retain(|object, _| exists(object));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<Guarded>, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectRef<Guarded> {
        ObjectRef::new(name).within("mcp")
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_waits_from_its_first_event_until_its_reconcile_begins() {
        let queue = Queue::default();
        queue.add([object("a")]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        queue.add([object("a"), object("b")]);
        assert_eq!(queue.count(), 2);
        assert_eq!(queue.begin(&object("a")), Some(Duration::from_secs(2)));
        assert_eq!(
            queue.begin(&object("a")),
            None,
            "the time alone triggered this one"
        );
        assert_eq!(queue.count(), 1);
    }

    #[test]
    fn deleted_objects_do_not_wait_for_ever() {
        let queue = Queue::default();
        queue.add([object("a"), object("b")]);
        queue.keep_only(|other| *other == object("b"));
        assert_eq!(queue.count(), 1);
    }
}
