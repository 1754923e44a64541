//! The MCP server behind every measured program. It answers a tool call at once with the size that its tool has, and the handshake
//! of the sidecar's probe. A GET opens an event stream that stays open.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::{self, Ready};
use futures::stream::{self, Once, Pending, StreamExt as _};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::call::{self, SIZE, TOOL, TOOLS};
use crate::error::{BenchError, Step as _};

/// A running server. Dropping it closes its port and its connections.
pub(crate) struct StubServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl StubServer {
    pub(crate) async fn start() -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .step("start the MCP server")?;
        let address = listener.local_addr().step("start the MCP server")?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener) {
    let answers = TOOLS.map(|(_, size)| answer_of_a_call(size));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let answers = answers.clone();
        let service = service_fn(move |request| {
            let answers = answers.clone();
            async move { Ok::<_, Infallible>(respond(request, answers).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        // The results do not matter, because a client may close its connection at any time.
        while connections.try_join_next().is_some() {}
    }
}

/// The answer of each tool.
type Answers = [Bytes; TOOLS.len()];

/// A whole body, or a stream that stays open.
type Answer = Either<Full<Bytes>, StreamBody<Events>>;
type Events = futures::stream::Chain<Once<Ready<Event>>, Pending<Event>>;
type Event = Result<Frame<Bytes>, Infallible>;

async fn respond(request: Request<Incoming>, answers: Answers) -> Response<Answer> {
    match *request.method() {
        Method::POST => {}
        Method::GET => return event_stream(),
        _ => return status(StatusCode::METHOD_NOT_ALLOWED),
    }
    let Ok(body) = request.into_body().collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let body = body.to_bytes();
    // Only the probe's messages are shorter than a call, and only they are parsed.
    if body.len() >= SIZE {
        let called = call::called(&body).and_then(|tool| answers.get(tool));
        return called.map_or_else(
            || status(StatusCode::BAD_REQUEST),
            |answer| json_answer(answer.clone()),
        );
    }
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    if message["id"].is_null() {
        return status(StatusCode::ACCEPTED);
    }
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": [{"name": TOOL, "inputSchema": {"type": "object"}}]}),
        _ => json!({}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
    json_answer(Bytes::from(answer.to_string()))
}

fn event_stream() -> Response<Answer> {
    let first = Frame::data(Bytes::from_static(b": open\n\n"));
    let events = stream::once(future::ready(Ok(first))).chain(stream::pending());
    let mut response = Response::new(Either::Right(StreamBody::new(events)));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn status(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

fn json_answer(body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn answer_of_a_call(size: usize) -> Bytes {
    let frame = |text: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
    };
    Bytes::from(frame(&"x".repeat(size - frame("").len())))
}
