//! Values that are there as long as somebody holds on to them, one for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The values that somebody holds on to. Cheap to clone.
pub(crate) struct Registry<K: Clone + Eq + Hash, V>(Arc<Mutex<Values<K, V>>>);

type Values<K, V> = HashMap<K, Weak<Held<K, V>>>;

/// A value of a [`Registry`]; with its last holder it leaves.
pub(crate) struct Held<K: Clone + Eq + Hash, V> {
    key: K,
    value: V,
    all: Registry<K, V>,
}

impl<K: Clone + Eq + Hash, V> Registry<K, V> {
    /// The value of this key, made if nobody holds on to one.
    pub(crate) fn hold(&self, key: K, make: impl FnOnce() -> V) -> Arc<Held<K, V>> {
        let mut held = self.held();
        if let Some(value) = held.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        let value = Arc::new(Held {
            key: key.clone(),
            value: make(),
            all: self.clone(),
        });
        held.insert(key, Arc::downgrade(&value));
        value
    }

    /// Takes a value out, for whom it is there still. Who comes later has a new one.
    pub(crate) fn take(&self, key: &K) -> Option<Arc<Held<K, V>>> {
        let held = self.held().remove(key);
        // The lock is free again: if this is the last holder, dropping it takes the lock.
        held.as_ref().and_then(Weak::upgrade)
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held().len()
    }

    fn held(&self) -> MutexGuard<'_, Values<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> Clone for Registry<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash, V> Held<K, V> {
    /// Whose value it is.
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Eq + Hash, V> Deref for Held<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<K: Clone + Eq + Hash, V> Drop for Held<K, V> {
    fn drop(&mut self) {
        let mut held = self.all.held();
        // Another may have taken the place since the last holder let go.
        if held
            .get(&self.key)
            .is_some_and(|kept| std::ptr::eq(kept.as_ptr(), self))
        {
            held.remove(&self.key);
        }
    }
}
