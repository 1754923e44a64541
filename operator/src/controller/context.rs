//! The state that all reconciles share.

use std::fmt;
use std::sync::Arc;

use behalf_contract::KeyMaterial;
use behalf_runtime::trace::Tracer;
use jiff::Timestamp;
use kube::runtime::events::Recorder;

use crate::controller::apply::stored_forms::StoredForms;
use crate::controller::backoff::Retries;
use crate::controller::children::{FreshKey, FreshKeys};
use crate::controller::dereference::Sources;
use crate::controller::jitter;
use crate::controller::queue::Queue;
use crate::controller::rollouts::Rollouts;
use crate::controller::status::PostponedWrites;
use crate::controller::validate::Defaults;
use crate::telemetry::metrics::Metrics;

/// The state that all reconciles share.
pub struct Context {
    /// Everything that `dereference` reads from.
    pub sources: Sources,

    /// Settings from the operator's command line.
    pub defaults: Defaults,

    /// The objects that wait for their reconcile.
    pub queue: Queue,

    /// Publishes events. The process has one, because its cache combines repeated events.
    pub recorder: Recorder,

    /// The metrics of this process.
    pub metrics: Arc<Metrics>,

    /// Records the traces of reconciles. `None` without a collector.
    pub tracer: Option<Tracer>,

    /// Returns the current time.
    pub clock: fn() -> Timestamp,

    /// Number of consecutive failures of each object.
    pub retries: Retries,

    /// Limits the rollouts of all objects.
    pub rollouts: Rollouts,

    /// Digests of children as the API server stores them.
    pub stored_forms: StoredForms,

    /// Writes of statuses that wait for the next one.
    pub postponed_writes: PostponedWrites,

    /// Source of randomness for jitter.
    pub(super) random: fn() -> u32,
}

impl Context {
    /// Creates the state with nothing remembered.
    pub fn new(
        sources: Sources,
        defaults: Defaults,
        queue: Queue,
        recorder: Recorder,
        (metrics, tracer): (Arc<Metrics>, Option<Tracer>),
        clock: fn() -> Timestamp,
    ) -> Self {
        let rollouts = Rollouts::limited_to(defaults.max_rollouts);
        Self {
            sources,
            defaults,
            queue,
            recorder,
            metrics,
            tracer,
            clock,
            retries: Retries::default(),
            rollouts,
            stored_forms: StoredForms::default(),
            postponed_writes: PostponedWrites::default(),
            random: jitter::random,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Draws the keys of a new keyring from the operating system.
    pub(super) fn fresh_keys(&self) -> Result<FreshKeys, getrandom::Error> {
        fresh_keys(self.now())
    }
}

fn fresh_keys(created_at: Timestamp) -> Result<FreshKeys, getrandom::Error> {
    let key = || {
        let mut id = [0; 4];
        getrandom::fill(&mut id)?;
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok::<_, getrandom::Error>(FreshKey {
            id,
            material: KeyMaterial::new(*bytes),
        })
    };
    Ok(FreshKeys {
        sessions: key()?,
        clients: key()?,
        created_at,
    })
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    #[test]
    fn two_keyrings_share_neither_key_nor_id() {
        let (one, other) = (fresh_keys(time(0)).unwrap(), fresh_keys(time(0)).unwrap());
        assert_ne!(one.sessions.id, other.sessions.id);
        assert_ne!(one.clients.id, other.clients.id);
        assert_ne!(one.sessions.material, other.sessions.material);
        assert_ne!(one.sessions.material, one.clients.material);
    }
}
