//! Reads a document of a sidecar's internal port. The Pod's network policy lets only the operator connect there, but a
//! forwarded port begins in the Pod.

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
    #[error("failed to forward port {} of Pod {pod}", ports::INTERNAL)]
    Forward {
        /// The Pod.
        pod: String,
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

/// Returns the text at `path`, for example `/metrics`.
pub async fn internal_document(
    client: &Client,
    pod: &str,
    path: &str,
) -> Result<String, InternalDocumentError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE_SERVERS);
    let forward = |source| InternalDocumentError::Forward {
        pod: pod.to_owned(),
        source: Box::new(source),
    };
    let mut forwarder = pods.portforward(pod, &[ports::INTERNAL]).await.map_err(forward)?;
    let text = get(&mut forwarder, path).await;
    forwarder.abort();
    text.map_err(|source| InternalDocumentError::Read {
        pod: pod.to_owned(),
        path: path.to_owned(),
        source,
    })
}

async fn get(
    forwarder: &mut kube::api::Portforwarder,
    path: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let stream = forwarder
        .take_stream(ports::INTERNAL)
        .ok_or("the port was not forwarded")?;
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
