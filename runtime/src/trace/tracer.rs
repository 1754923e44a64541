//! The tracer of a program: it begins traces, and holds finished ones until they are exported.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use super::context::{SpanId, TraceContext, TraceId};
use super::export::Collector;
use super::otlp;
use super::queue::{Dropped, Queue};
use super::span::{Recorded, RequestSpan, SpanPosition};

/// The sender of the request that a trace describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The program itself: nobody asked for the work.
    Program,
    /// A user with a live session, by a number. Two users with one number share a part of the queue.
    User(u64),
    /// Anybody.
    Stranger,
}

impl Caller {
    /// The user with this identity.
    pub fn user<T: Hash + ?Sized>(identity: &T) -> Self {
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        Self::User(hasher.finish())
    }
}

/// Overwrites bytes with random bytes.
type Random = dyn Fn(&mut [u8]) + Send + Sync;

/// Counts dropped spans.
type Count = dyn Fn(Dropped, usize) + Send + Sync;

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
pub struct Tracer(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) sources: Sources,
    pub(super) queue: Queue,
    pub(super) collector: Collector,
}

impl Tracer {
    /// Creates a tracer. Nothing is sent before [`Tracer::export`] runs.
    pub fn new(sources: Sources, collector: Collector) -> Self {
        Self(Arc::new(Shared {
            sources,
            queue: Queue::default(),
            collector,
        }))
    }

    /// Begins the trace of a request that arrives now. It continues the caller's `context`. Without one it is a new trace
    /// that is recorded.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, context: Option<TraceContext>) -> RequestSpan {
        let position = match context {
            Some(context) => SpanPosition::continued(context, SpanId(self.random())),
            None => self.new_position(),
        };
        RequestSpan::begin(
            self,
            position,
            Caller::Stranger,
            Recorded::new(name.into(), otlp::SERVER),
        )
    }

    /// Begins the trace of work that the program does by itself.
    pub fn begin_work(&self, name: &'static str) -> RequestSpan {
        let root = Recorded::new(name.into(), otlp::INTERNAL);
        RequestSpan::begin(self, self.new_position(), Caller::Program, root)
    }

    /// Returns the position of a new trace that is recorded.
    fn new_position(&self) -> SpanPosition {
        SpanPosition {
            trace: TraceId(self.random()),
            parent: None,
            own: SpanId(self.random()),
            sampled: true,
        }
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
