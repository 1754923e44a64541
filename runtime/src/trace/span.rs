//! The spans of one request, and the trace that the running task serves.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::caller::Caller;
use super::context::{SpanId, TraceContext, TraceId};
use super::otlp::{self, KeyValue, Status, attribute};
use super::queue::DropReason;
use super::tracer::Tracer;

pub use super::otlp::Value;

/// Maximum number of spans of one request. It bounds the memory of a request that sends many; later spans are dropped.
const MAX_SPANS: usize = 64;

tokio::task_local! {
    static CURRENT: Trace;
}

/// The trace of the request that this task serves, if the program has a collector.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(Trace::clone).ok()
}

/// Runs `future` with the trace of the calling task, for a task of its own.
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(current(), future)
}

/// Runs `future` with `trace` as the [`current`] one.
pub async fn within<F: Future>(trace: Option<Trace>, future: F) -> F::Output {
    match trace {
        Some(trace) => trace.scope(future).await,
        None => future.await,
    }
}

/// Where in a trace the request is.
#[derive(Clone, Copy)]
pub(super) struct SpanPosition {
    pub(super) trace: TraceId,
    pub(super) parent: Option<SpanId>,
    /// The request's own span.
    pub(super) own: SpanId,
    pub(super) sampled: bool,
}

impl SpanPosition {
    pub(super) fn continued(context: TraceContext, own: SpanId) -> Self {
        Self {
            trace: context.trace,
            parent: Some(context.span),
            own,
            sampled: context.sampled,
        }
    }
}

struct RequestTrace {
    tracer: Tracer,
    began: Instant,
    /// The time of `began` since the Unix epoch.
    began_at: Duration,
    state: Mutex<SpanState>,
}

struct SpanState {
    position: SpanPosition,
    caller: Caller,
    root: Recorded,
    children: Vec<(SpanId, Recorded)>,
    /// Number of spans beyond [`MAX_SPANS`].
    left_out: usize,
}

/// A span without its position in the trace.
pub(super) struct Recorded {
    name: Cow<'static, str>,
    kind: i32,
    began: Instant,
    ended: Instant,
    attributes: Vec<KeyValue>,
    failed: bool,
}

impl Recorded {
    pub(super) fn new(name: Cow<'static, str>, kind: i32) -> Self {
        let now = Instant::now();
        Self {
            name,
            kind,
            began: now,
            ended: now,
            attributes: Vec::new(),
            failed: false,
        }
    }
}

/// The span of a request that this program answers, or of work that it does by itself. It ends when this is dropped.
#[must_use = "the span ends when it is dropped"]
pub struct RequestSpan(Trace);

impl RequestSpan {
    pub(super) fn begin(tracer: &Tracer, position: SpanPosition, caller: Caller, root: Recorded) -> Self {
        let request = RequestTrace {
            tracer: tracer.clone(),
            began: Instant::now(),
            began_at: (tracer.0.sources.clock)(),
            state: Mutex::new(SpanState {
                position,
                caller,
                root,
                children: Vec::new(),
                left_out: 0,
            }),
        };
        Self(Trace(Arc::new(request)))
    }

    /// The trace of the request.
    pub fn trace(&self) -> Trace {
        self.0.clone()
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.root.ended = Instant::now();
        // The request has no answer that would say so.
        state.root.failed |= std::thread::panicking();
    }
}

/// The trace of one request, as far as this program sees it. Clones share it. Its spans are queued when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Trace(Arc<RequestTrace>);

impl Trace {
    /// Runs `future` with this as the [`current`] trace.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Continues `context` instead of the one with which the trace began. Spans that were recorded move with it.
    pub fn continue_from(&self, context: TraceContext) {
        let mut state = self.state();
        state.position = SpanPosition::continued(context, state.position.own);
    }

    /// Sets the caller of the request.
    pub fn caller(&self, caller: Caller) {
        self.state().caller = caller;
    }

    /// Replaces the name of the request's span. It must come from a closed list.
    pub fn name(&self, name: &'static str) {
        self.state().root.name = Cow::Borrowed(name);
    }

    /// Adds an attribute to the request's span. A text must come from a closed list or be bounded, and contains neither a
    /// credential nor an argument nor a mail address.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.state().root.attributes.push(attribute(key, value));
    }

    /// Records none of the spans.
    pub fn discard(&self) {
        self.state().position.sampled = false;
    }

    /// Marks the request's span as failed.
    pub fn fail(&self) {
        self.state().root.failed = true;
    }

    /// Returns the id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.state().position.trace
    }

    /// Returns the id of the trace if it is recorded.
    pub fn recorded_id(&self) -> Option<TraceId> {
        let position = self.state().position;
        position.sampled.then_some(position.trace)
    }

    /// Begins the span of a request that this program sends. It ends when it is dropped.
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> ClientSpan {
        ClientSpan {
            trace: self.clone(),
            id: SpanId(self.0.tracer.random()),
            recorded: Some(Recorded::new(name.into(), otlp::CLIENT)),
        }
    }

    fn state(&self) -> MutexGuard<'_, SpanState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span of a request that this program sends.
#[must_use = "the span ends when it is dropped"]
pub struct ClientSpan {
    trace: Trace,
    id: SpanId,
    recorded: Option<Recorded>,
}

impl ClientSpan {
    /// Returns the value of `traceparent` for the request.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        let position = self.trace.state().position;
        let context = TraceContext {
            trace: position.trace,
            span: self.id,
            sampled: position.sampled,
        };
        context.header()
    }

    /// Moves the beginning of the span to an earlier time.
    pub fn began(mut self, began: Instant) -> Self {
        if let Some(recorded) = &mut self.recorded {
            recorded.began = began;
        }
        self
    }

    /// Adds an attribute, as [`Trace::set`] does.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(recorded) = &mut self.recorded {
            recorded.attributes.push(attribute(key, value));
        }
    }

    /// Records the status of the answer. An error status marks the span as failed.
    pub fn answered(&mut self, status: StatusCode) {
        self.set("http.response.status_code", status.as_u16());
        if status.is_client_error() || status.is_server_error() {
            self.fail(status.as_str());
        }
    }

    /// Marks the span as failed. `kind` is the value of `error.type`, from a closed list.
    pub fn fail(&mut self, kind: &str) {
        if let Some(recorded) = &mut self.recorded {
            recorded.attributes.push(attribute("error.type", kind));
            recorded.failed = true;
        }
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        let mut state = self.trace.state();
        if state.children.len() + 1 >= MAX_SPANS {
            state.left_out += 1;
        } else if let Some(mut recorded) = self.recorded.take() {
            recorded.ended = Instant::now();
            state.children.push((self.id, recorded));
        }
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        let (began, began_at) = (self.began, self.began_at);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let position = state.position;
        if !position.sampled {
            return;
        }
        let nanoseconds = |moment: Instant| {
            let at = began_at + moment.saturating_duration_since(began);
            u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
        };
        let written = |id: SpanId, parent: Option<SpanId>, recorded: &mut Recorded| otlp::OtlpSpan {
            trace_id: position.trace.0.to_vec(),
            span_id: id.0.to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |id| id.0.to_vec()),
            name: std::mem::take(&mut recorded.name).into_owned(),
            kind: recorded.kind,
            start_time_unix_nano: nanoseconds(recorded.began),
            end_time_unix_nano: nanoseconds(recorded.ended),
            attributes: std::mem::take(&mut recorded.attributes),
            status: recorded.failed.then_some(Status::ERROR),
        };
        let mut spans = vec![written(position.own, position.parent, &mut state.root)];
        for (id, recorded) in &mut state.children {
            spans.push(written(*id, Some(position.own), recorded));
        }
        let (count, shared) = (spans.len(), &*self.tracer.0);
        if state.left_out > 0 {
            (shared.sources.dropped)(DropReason::RequestFull, state.left_out);
        }
        if !shared.queue.push(spans, state.caller) {
            (shared.sources.dropped)(DropReason::QueueFull, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use behalf_contract::{ObjectIdentity, TracingConfig};

    use super::super::collector::Collector;
    use super::super::tracer::Sources;
    use super::*;

    #[test]
    fn the_spans_of_a_request_beyond_the_maximum_are_counted() {
        let counted = Arc::<Mutex<Vec<(DropReason, usize)>>>::default();
        let counts = Arc::clone(&counted);
        let sources = Sources {
            clock: Box::new(Duration::default),
            random: Box::new(|bytes: &mut [u8]| bytes.fill(1)),
            dropped: Box::new(move |reason, count| counts.lock().unwrap().push((reason, count))),
        };
        let config = TracingConfig {
            endpoint: "http://127.0.0.1:1".parse().unwrap(),
            object: ObjectIdentity {
                namespace: "mcp".to_owned(),
                name: "azure-devops".to_owned(),
            },
        };
        let tracer = Tracer::new(sources, Collector::new(&config, "test", reqwest::Client::default));
        let request = tracer.begin("tools/call", None);
        for _ in 0..MAX_SPANS + 2 {
            drop(request.trace().child("azure_devops"));
        }
        drop(request);
        assert_eq!(tracer.0.queue.take(usize::MAX).len(), MAX_SPANS);
        assert_eq!(*counted.lock().unwrap(), [(DropReason::RequestFull, 3)]);
    }
}
