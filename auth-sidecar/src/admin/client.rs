//! Sends requests to the administration socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use behalf_entra::Secret;
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use url::form_urlencoded::byte_serialize;

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

        /// Contains the error of the operating system.
        #[source]
        source: reqwest::Error,
    },

    /// The HTTP client cannot be set up.
    #[error("failed to set up the HTTP client; report this as a bug")]
    Client(#[source] reqwest::Error),

    /// The connection broke, or the answer is not HTTP.
    #[error("the auth-sidecar did not answer; read its log")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// The answer is longer than any that a sidecar gives.
    #[error(
        "the answer is longer than {MAX_ANSWER} bytes; check that the auth-sidecar listens at the socket"
    )]
    TooLarge,

    /// The sidecar refused the request.
    #[error("{0}")]
    Refused(String),
}

/// Asks the sidecar of this container.
pub(super) struct AdminClient<'a> {
    socket: &'a Path,
    http: reqwest::Client,
}

impl<'a> AdminClient<'a> {
    pub(super) fn new(socket: &'a Path) -> Result<Self, AdminClientError> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            // The socket has no TLS: the certificates of the system would only need time.
            .tls_certs_only([])
            .build()
            .map_err(AdminClientError::Client)?;
        Ok(Self { socket, http })
    }

    pub(super) async fn list(
        &self,
        user: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<PageMessage, AdminClientError> {
        let request = self.request(Method::GET, "/sessions");
        self.send(request.query(&[("user", user), ("cursor", cursor)]))
            .await
    }

    pub(super) async fn revoke_by_id(&self, id: &str) -> Result<RevokedMessage, AdminClientError> {
        // A malformed id must not become a longer path. That of one or two dots leads to a path that nothing serves.
        let id: String = byte_serialize(id.as_bytes()).collect();
        self.send(self.request(Method::DELETE, &format!("/sessions/{id}")))
            .await
    }

    pub(super) async fn revoke_by_user(&self, user: &str) -> Result<RevokedMessage, AdminClientError> {
        let request = self.request(Method::DELETE, "/sessions");
        self.send(request.query(&[("user", user)])).await
    }

    pub(super) async fn introspect(&self, token: &Secret) -> Result<IntrospectionMessage, AdminClientError> {
        let request = self.request(Method::POST, "/introspect");
        self.send(request.form(&[("token", token.expose())])).await
    }

    /// Ends with an error after [`DRAIN_LIMIT`]: the kubelet has no limit for a hook but the whole time of the Pod.
    pub(super) async fn drain(&self) -> Result<DrainMessage, AdminClientError> {
        self.send(self.request(Method::POST, "/drain").timeout(DRAIN_LIMIT))
            .await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://localhost{path}"))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AdminClientError> {
        let failed = |error: reqwest::Error| AdminClientError::Answer(error.without_url().into());
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() {
                let path = self.socket.to_owned();
                let source = error.without_url();
                AdminClientError::Connect { path, source }
            } else {
                failed(error)
            }
        })?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(AdminClientError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| AdminClientError::Answer(error.into()));
        }
        Err(match serde_json::from_slice(&body) {
            Ok(ErrorMessage { error }) => AdminClientError::Refused(error),
            Err(_) => {
                AdminClientError::Refused(format!("the auth-sidecar refused the request with {status}"))
            }
        })
    }
}
