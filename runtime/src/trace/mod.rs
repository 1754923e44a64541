//! Traces: spans of requests, sent to a collector by OTLP over HTTP.
//!
//! A program that has a collector makes one [`Tracer`]. It begins a [`Trace`] for each request ([`trace_request`]), which continues the
//! caller's W3C Trace Context. The spans of a request stay together until the request has ended. They are then queued as
//! a whole or dropped as a whole, and [`Tracer::export`] sends them. No request waits for the collector.
//!
//! [`current`] is the trace of the request that the running task serves. Without a collector there is none, and each
//! place that records a span does nothing.

mod begin;
mod caller;
mod collector;
mod context;
mod export;
mod layer;
mod otlp;
mod queue;
mod span;
mod tracer;

pub use caller::Caller;
pub use collector::Collector;
pub use context::{TRACEPARENT, TraceContext, TraceId};
pub use layer::{method_name, trace_request, traced};
pub use queue::DropReason;
pub use span::{ClientSpan, RequestSpan, Trace, Value, carry, current, within};
pub use tracer::{Sources, Tracer};
