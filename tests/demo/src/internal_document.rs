//! Reads a document of an internal port of a Pod. Network policies let only few peers connect there, but a forwarded port
//! begins in the Pod.

use behalf_contract::ports;
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use crate::environment::NAMESPACE_SERVERS;

/// Maximum size of a document in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InternalDocumentError {
    /// The API server does not forward the port.
    #[error("failed to forward port {port} of Pod {pod}")]
    Forward {
        /// The Pod.
        pod: String,
        /// The port.
        port: u16,
        /// The error of the Kubernetes client.
        #[source]
        source: Box<kube::Error>,
    },

    /// The connection gave no answer.
    #[error("failed to read {path} of Pod {pod}")]
    Read {
        /// The Pod.
        pod: String,
        /// The path.
        path: String,
        /// Error of the HTTP client.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Returns the text at `path` of a sidecar's internal port, for example `/metrics`.
pub async fn internal_document(
    client: &Client,
    pod: &str,
    path: &str,
) -> Result<String, InternalDocumentError> {
    let pods = Api::namespaced(client.clone(), NAMESPACE_SERVERS);
    document_at(&pods, pod, ports::INTERNAL, path).await
}

/// Returns the text at `path` of any port of a Pod.
pub async fn document_at(
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<String, InternalDocumentError> {
    let forward = |source| InternalDocumentError::Forward {
        pod: pod.to_owned(),
        port,
        source: Box::new(source),
    };
    let mut forwarder = pods.portforward(pod, &[port]).await.map_err(forward)?;
    let text = get(&mut forwarder, port, path).await;
    forwarder.abort();
    text.map_err(|source| InternalDocumentError::Read {
        pod: pod.to_owned(),
        path: path.to_owned(),
        source,
    })
}

async fn get(
    forwarder: &mut kube::api::Portforwarder,
    port: u16,
    path: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let stream = forwarder.take_stream(port).ok_or("the port was not forwarded")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut connections = tokio::task::JoinSet::new();
    connections.spawn(connection);
    let request = http::Request::get(path)
        .header("host", "localhost")
        .body(String::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("it answered {}", response.status()).into());
    }
    let bytes = Limited::new(response.into_body(), LIMIT)
        .collect()
        .await?
        .to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
