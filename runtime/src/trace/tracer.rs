//! The tracer of a program: it holds finished spans until they are exported.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::collector::Collector;
use super::queue::{DropReason, Queue};

/// Overwrites bytes with random bytes.
type Random = dyn Fn(&mut [u8]) + Send + Sync;

/// Counts dropped spans.
type Count = dyn Fn(DropReason, usize) + Send + Sync;

/// The clock, the randomness and the counter of a [`Tracer`].
pub struct Sources {
    /// Returns the time since the Unix epoch.
    pub clock: Box<dyn Fn() -> Duration + Send + Sync>,

    /// Overwrites the bytes with random bytes.
    pub random: Box<Random>,

    /// Counts spans that do not reach the collector.
    pub dropped: Box<Count>,
}

/// Begins traces, and holds the finished ones until they are exported. Cheap to clone.
#[derive(Clone)]
pub struct Tracer(pub(super) Arc<TracerShared>);

pub(super) struct TracerShared {
    pub(super) sources: Sources,
    pub(super) queue: Queue,
    pub(super) collector: Collector,
}

impl Tracer {
    /// Creates a tracer. Nothing is sent before [`Tracer::export`] runs.
    pub fn new(sources: Sources, collector: Collector) -> Self {
        Self(Arc::new(TracerShared {
            sources,
            queue: Queue::default(),
            collector,
        }))
    }

    pub(super) fn random<const LENGTH: usize>(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        (self.0.sources.random)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tracer").finish_non_exhaustive()
    }
}
