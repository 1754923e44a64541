//! An MCP server that records every request, and answers as the test sets it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use behalf_auth_sidecar::upstream::Upstream;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// One received request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns `params.arguments.bearerToken`.
    pub(crate) fn argument(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["params"]["arguments"]["bearerToken"]
            .as_str()
            .map(str::to_owned)
    }
}

type Script = Box<dyn Fn(&Received) -> Response<Body> + Send>;

struct Shared {
    received: Mutex<Vec<Received>>,
    script: Mutex<Script>,
}

/// The server listens until this is dropped.
pub(crate) struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            script: Mutex::new(Box::new(mcp)),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> Url {
        format!("http://{}/mcp", self.address).parse().unwrap()
    }

    pub(crate) fn answers(&self, script: impl Fn(&Received) -> Response<Body> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns the only request.
    pub(crate) fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.into_iter().next().unwrap()
    }

    /// Closes the port. Returns when it refuses connections.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let key = behalf_auth_sidecar::host_key::HostKey::from_random(&[0; 32]);
        let upstream = Upstream::new(&self.endpoint(), &key).unwrap();
        while upstream.listens().await {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let received = Received {
        method: parts.method,
        headers: parts.headers,
        body,
    };
    shared.received.lock().unwrap().push(received.clone());
    let script = shared.script.lock().unwrap();
    script(&received)
}

/// Answers as an MCP server of revision 2025-11-25, in JSON.
pub(crate) fn mcp(received: &Received) -> Response<Body> {
    if received.method != Method::POST {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let body = received.json();
    if body["id"].is_null() {
        return status(StatusCode::ACCEPTED);
    }
    json_answer(&json!({"jsonrpc": "2.0", "id": body["id"], "result": result(&body)}))
}

pub(crate) fn result(request: &Value) -> Value {
    match request["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "fake", "version": "1.2.3"},
        }),
        "tools/list" => json!({"tools": [{"name": "run", "inputSchema": {"type": "object"}}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": "done"}]}),
        _ => json!({}),
    }
}

pub(crate) fn json_answer(body: &Value) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub(crate) fn status(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}
