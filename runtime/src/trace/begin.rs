//! Begins traces.

use std::borrow::Cow;

use super::caller::Caller;
use super::context::{SpanId, TraceContext, TraceId};
use super::otlp;
use super::span::{Recorded, RequestSpan, SpanPosition};
use super::tracer::Tracer;

impl Tracer {
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
}
