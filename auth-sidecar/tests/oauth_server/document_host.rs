//! An https server that has the metadata documents of clients under the names of several hosts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use behalf_contract::SidecarConfig;
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::listener::{Listener, Serving};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::watch;

use crate::fixture::{Door, World};

/// The hosts that the server's certificate names.
const HOSTS: [&str; 8] = [
    "client.example",
    "evil.example",
    "vscode.dev",
    "claude.ai",
    "chatgpt.com",
    "cursor.com",
    "github.com",
    "opencode.ai",
];

/// Makes the answer to one request.
type Reply = Arc<dyn Fn() -> Response<Body> + Send + Sync>;

/// The server, and what it was asked for.
pub(crate) struct DocumentHost {
    authority: NamedTempFile,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    requests: Arc<watch::Sender<usize>>,
    serving: Serving,
}

impl DocumentHost {
    pub(crate) async fn start() -> Self {
        let authority = CertificateAuthority::generate("Documents").unwrap();
        let identity = authority.issue(&HOSTS).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.certificate_pem()).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Some(&identity)).await;
        let replies: Arc<Mutex<HashMap<String, Reply>>> = Arc::default();
        let requests: Arc<watch::Sender<usize>> = Arc::default();
        let (known, seen) = (replies.clone(), requests.clone());
        let router = Router::new().fallback(move |request: Request<Body>| {
            let header = request.headers().get("host").map(|host| host.to_str().unwrap());
            let host = request.uri().host().or(header).unwrap();
            let url = format!("https://{host}{}", request.uri().path());
            let reply = known.lock().unwrap().get(&url).cloned();
            seen.send_modify(|count| *count += 1);
            async move { reply.map_or_else(|| status(404), |reply| reply()) }
        });
        Self {
            authority: file,
            replies,
            requests,
            serving: listener.unwrap().serve(router),
        }
    }

    /// Starts a sidecar that trusts this server, and finds it under every name.
    pub(crate) async fn world(&self) -> World {
        self.world_with(|_| {}).await
    }

    pub(crate) async fn world_with(&self, adjust: impl FnOnce(&mut SidecarConfig)) -> World {
        self.world_resolving(Arc::new(self.resolver()), adjust).await
    }

    /// Starts such a sidecar behind nginx with TLS and HTTP/2.
    pub(crate) async fn world_behind_a_gateway(&self, adjust: impl FnOnce(&mut SidecarConfig)) -> World {
        let resolver = Arc::new(self.resolver());
        World::start_with_resolver(1, Door::Gateway, resolver, |config| {
            self.trusted_by(config);
            adjust(config);
        })
        .await
    }

    pub(crate) async fn world_resolving(
        &self,
        resolver: Arc<dyn Resolve>,
        adjust: impl FnOnce(&mut SidecarConfig),
    ) -> World {
        World::start_with_resolver(1, Door::Direct, resolver, |config| {
            self.trusted_by(config);
            adjust(config);
        })
        .await
    }

    fn trusted_by(&self, config: &mut SidecarConfig) {
        config.entra.certificate_authority_file = Some(self.authority.path().to_owned());
    }

    /// The address on which this server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// A resolver that finds this server under every name.
    pub(crate) fn resolver(&self) -> Everywhere {
        Everywhere(self.serving.address())
    }

    /// Answers requests for this address with `reply`.
    pub(crate) fn put(&self, url: &str, reply: impl Fn() -> Response<Body> + Send + Sync + 'static) {
        self.replies
            .lock()
            .unwrap()
            .insert(url.to_owned(), Arc::new(reply));
    }

    /// Publishes this document at its `client_id`.
    pub(crate) fn publish(&self, document: &Value) {
        let text = document.to_string();
        self.put(document["client_id"].as_str().unwrap(), move || json_body(&text));
    }

    /// Publishes a document of a client that has these redirect URIs.
    pub(crate) fn publish_client(&self, url: &str, redirect_uris: &[&str]) {
        self.publish(
            &json!({"client_id": url, "client_name": "A test client", "redirect_uris": redirect_uris}),
        );
    }

    /// Returns the number of requests so far.
    pub(crate) fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    /// Returns when this server got this number of requests.
    pub(crate) async fn requested(&self, number: usize) {
        let mut requests = self.requests.subscribe();
        requests.wait_for(|count| *count >= number).await.unwrap();
    }
}

pub(crate) fn json_body(text: &str) -> Response<Body> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(Body::from(text.to_owned())).unwrap()
}

pub(crate) fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// Finds one address for every name.
pub(crate) struct Everywhere(pub(crate) SocketAddr);

impl Resolve for Everywhere {
    fn resolve(&self, _: Name) -> Resolving {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}
