//! A collector of traces: an OTLP/HTTP receiver that keeps what it gets. It reads requests with the messages that
//! OpenTelemetry publishes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use url::Url;

/// A received span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSpan {
    /// `service.name` of the sender.
    pub service: String,

    /// The trace, in hexadecimal digits.
    pub trace_id: String,

    /// The span, in hexadecimal digits.
    pub span_id: String,

    /// The parent, in hexadecimal digits. Empty for the first span of a trace.
    pub parent_span_id: String,

    /// The name.
    pub name: String,

    /// True if the status is an error.
    pub failed: bool,

    /// The time from begin to end in nanoseconds.
    pub nanoseconds: u64,

    /// The attributes as text.
    pub attributes: HashMap<String, String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Received>,
    changed: Notify,
}

#[derive(Default)]
struct Received {
    spans: Vec<ReceivedSpan>,
    bytes: Vec<u8>,
    requests: usize,
    largest: usize,
    refuses: bool,
    rejects: usize,
}

/// The collector. It listens on loopback, unless its start says otherwise, until it is dropped.
pub struct Collector {
    endpoint: Url,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts it on a free port.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts it at another address of this machine, for the Pods of a cluster.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let endpoint = origin.parse().map_err(io::Error::other)?;
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It serves until the collector is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            endpoint,
            shared,
            task,
        })
    }

    /// The origin for `tracing.endpoint`.
    pub fn endpoint(&self) -> Url {
        self.endpoint.clone()
    }

    /// Answers 503 from now on, or accepts again.
    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Accepts requests from now on, and says in the answer to each that it rejected `count` spans.
    pub fn reject(&self, count: usize) {
        self.state().rejects = count;
    }

    /// Returns when at least `count` spans have arrived.
    pub async fn spans(&self, count: usize) -> Vec<ReceivedSpan> {
        self.until(|spans| spans.len() >= count).await
    }

    /// Returns when a span of this trace has arrived, with all spans.
    pub async fn trace(&self, trace_id: &str) -> Vec<ReceivedSpan> {
        self.until(|spans| spans.iter().any(|span| span.trace_id == trace_id))
            .await
    }

    /// Returns when at least `count` requests have arrived, the refused ones included.
    pub async fn requests(&self, count: usize) {
        self.wait(|received| received.requests >= count).await;
    }

    /// Returns when these spans are enough.
    pub async fn until(&self, enough: impl Fn(&[ReceivedSpan]) -> bool) -> Vec<ReceivedSpan> {
        self.wait(|received| enough(&received.spans)).await;
        self.state().spans.clone()
    }

    /// Number of spans in the largest request.
    pub fn largest(&self) -> usize {
        self.state().largest
    }

    /// The bodies of all requests, one behind the other.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    async fn wait(&self, enough: impl Fn(&Received) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            if enough(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, Received> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    let is_protobuf = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/x-protobuf");
    let Ok(request) = ExportTraceServiceRequest::decode(body.clone()) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    if !is_protobuf {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let spans = read(request);
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests += 1;
    state.largest = state.largest.max(spans.len());
    state.bytes.extend_from_slice(&body);
    let (refuses, rejects) = (state.refuses, state.rejects);
    if !refuses {
        state.spans.extend(spans);
    }
    drop(state);
    shared.changed.notify_waiters();
    if refuses {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let partial_success = (rejects > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejects).unwrap_or(i64::MAX),
        error_message: "too old".to_owned(),
    });
    Ok(ExportTraceServiceResponse { partial_success }.encode_to_vec())
}

fn read(request: ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut read = Vec::new();
    for resource in request.resource_spans {
        let attributes = texts(resource.resource.unwrap_or_default().attributes);
        let service = attributes.get("service.name").cloned().unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        read.extend(spans.map(|span| ReceivedSpan {
            service: service.clone(),
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_span_id: hex(&span.parent_span_id),
            name: span.name,
            failed: span.status.is_some_and(|status| status.code == 2),
            nanoseconds: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
            attributes: texts(span.attributes),
        }));
    }
    read
}

fn texts(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
