//! Sends requests to the administration socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request};
use behalf_entra::Secret;
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use url::form_urlencoded::Serializer;

use super::messages::{DrainMessage, ErrorMessage, IntrospectionMessage, PageMessage, RevokedMessage};

/// Maximum size of an answer in bytes. A page of sessions is much smaller.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Maximum time for the answer to `drain`. It only sets a mark.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Why a command failed. The text goes to the administrator.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// Nothing listens there.
    #[error(
        "failed to connect to {}; run the command in the container auth-sidecar of a running Pod: kubectl exec <pod> -c \
         auth-sidecar -- behalf-auth-sidecar admin ...", path.display()
    )]
    Connect {
        /// Path of the socket.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The connection broke, or the answer is not HTTP.
    #[error("the auth-sidecar did not answer; read its log")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// The sidecar refused the request.
    #[error("{0}")]
    Refused(String),
}

/// Asks the sidecar of this container.
pub(super) struct AdminClient<'a> {
    socket: &'a Path,
}

impl<'a> AdminClient<'a> {
    pub(super) fn new(socket: &'a Path) -> Self {
        Self { socket }
    }

    pub(super) async fn list(
        &self,
        user: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<PageMessage, AdminClientError> {
        let parameters = [("user", user), ("cursor", cursor)];
        let given = parameters
            .iter()
            .filter_map(|(name, value)| Some((name, (*value)?)));
        let query = Serializer::new(String::new()).extend_pairs(given).finish();
        self.send(Method::GET, &format!("/sessions?{query}"), Body::empty())
            .await
    }

    pub(super) async fn revoke_by_id(&self, id: &str) -> Result<RevokedMessage, AdminClientError> {
        // A malformed id must not become another path.
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        self.send(Method::DELETE, &format!("/sessions/{id}"), Body::empty())
            .await
    }

    pub(super) async fn revoke_by_user(&self, user: &str) -> Result<RevokedMessage, AdminClientError> {
        let query = Serializer::new(String::new()).append_pair("user", user).finish();
        self.send(Method::DELETE, &format!("/sessions?{query}"), Body::empty())
            .await
    }

    pub(super) async fn introspect(&self, token: &Secret) -> Result<IntrospectionMessage, AdminClientError> {
        let form = Serializer::new(String::new())
            .append_pair("token", token.expose())
            .finish();
        self.send(Method::POST, "/introspect", Body::from(form)).await
    }

    /// Ends with an error after [`DRAIN_LIMIT`]: the kubelet has no limit for a hook but the whole time of the Pod.
    pub(super) async fn drain(&self) -> Result<DrainMessage, AdminClientError> {
        let answer = self.send(Method::POST, "/drain", Body::empty());
        tokio::time::timeout(DRAIN_LIMIT, answer)
            .await
            .unwrap_or_else(|elapsed| Err(AdminClientError::Answer(elapsed.into())))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, AdminClientError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| AdminClientError::Answer(error);
        let stream = UnixStream::connect(self.socket)
            .await
            .map_err(|source| AdminClientError::Connect {
                path: self.socket.to_owned(),
                source,
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.into()))?;
        // Its error is also the error of the request.
        tokio::spawn(async move { connection.await.ok() });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .map_err(|error| failed(error.into()))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(error.into()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(failed)?
            .to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| failed(error.into()));
        }
        Err(match serde_json::from_slice(&body) {
            Ok(ErrorMessage { error }) => AdminClientError::Refused(error),
            Err(_) => {
                AdminClientError::Refused(format!("the auth-sidecar refused the request with {status}"))
            }
        })
    }
}
