//! A map of shared values. Each entry exists only while a holder keeps it alive.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Maps each key to one shared value. The map holds weak references, so that an entry disappears with its last
/// holder. Clones share the map.
pub(crate) struct WeakMap<K: Clone + Eq + Hash, V>(Arc<Mutex<Values<K, V>>>);

type Values<K, V> = HashMap<K, Weak<WeakMapEntry<K, V>>>;

/// An entry of a [`WeakMap`]. When its last holder drops it, it removes itself from the map.
pub(crate) struct WeakMapEntry<K: Clone + Eq + Hash, V> {
    key: K,
    value: V,
    map: WeakMap<K, V>,
}

impl<K: Clone + Eq + Hash, V> WeakMap<K, V> {
    /// Returns the entry of this key. Creates it with `create` if no holder keeps one alive.
    pub(crate) fn get_or_insert_with(&self, key: K, create: impl FnOnce() -> V) -> Arc<WeakMapEntry<K, V>> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&key).and_then(Weak::upgrade) {
            return entry;
        }
        let entry = Arc::new(WeakMapEntry {
            key: key.clone(),
            value: create(),
            map: self.clone(),
        });
        entries.insert(key, Arc::downgrade(&entry));
        entry
    }

    /// Removes the entry and returns it if some holder still keeps it alive. Later calls create a new one.
    pub(crate) fn remove(&self, key: &K) -> Option<Arc<WeakMapEntry<K, V>>> {
        let entry = self.lock().remove(key);
        // The lock is released here. The returned entry may be the last one, and its drop takes the lock.
        entry.as_ref().and_then(Weak::upgrade)
    }

    /// Returns all entries that some holder still keeps alive.
    pub(crate) fn entries(&self) -> Vec<Arc<WeakMapEntry<K, V>>> {
        // The lock is released before the caller drops the entries, because the drop of the last one takes the lock.
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Returns the number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Values<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> Clone for WeakMap<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash, V> WeakMapEntry<K, V> {
    /// Returns the key of this entry.
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Eq + Hash, V> Deref for WeakMapEntry<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<K: Clone + Eq + Hash, V> Drop for WeakMapEntry<K, V> {
    fn drop(&mut self) {
        let mut entries = self.map.lock();
        // The map may already contain a newer entry for this key.
        if entries
            .get(&self.key)
            .is_some_and(|current| std::ptr::eq(current.as_ptr(), self))
        {
            entries.remove(&self.key);
        }
    }
}
