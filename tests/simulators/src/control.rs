//! The client side of a simulator's control port: JSON over plain HTTP.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

/// Why a simulator's control port did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The HTTP client could not be made.
    #[error("failed to build the control port's HTTP client")]
    Client(#[source] reqwest::Error),

    /// The path does not fit the control port's address.
    #[error("control path {path} does not fit the control port's address")]
    Path {
        /// The path that was asked for.
        path: String,
    },

    /// Nothing answered, or not in time.
    #[error("failed to reach the control port at {path}")]
    Unreachable {
        /// The path that was asked for.
        path: String,
        /// The error of the HTTP client.
        #[source]
        source: reqwest::Error,
    },

    /// The simulator understood and refused: the message says why.
    #[error("control port refused {path} with {status}: {message}")]
    Refused {
        /// The path that was asked for.
        path: String,
        /// HTTP status of the answer.
        status: StatusCode,
        /// The answer's text.
        message: String,
    },

    /// The answer is not the JSON that was expected.
    #[error("control port answered {path} with an unexpected document")]
    Answer {
        /// The path that was asked for.
        path: String,
        /// The error of the decoder.
        #[source]
        source: reqwest::Error,
    },
}

/// One simulator's control port, wherever it runs.
#[derive(Debug, Clone)]
pub struct ControlPort {
    base: Url,
    http: reqwest::Client,
}

impl ControlPort {
    /// A client of the control port at `base`, for example `http://127.0.0.1:9000/`.
    pub fn new(base: Url) -> Result<Self, ControlError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            // The control port is plain HTTP, and the machine may have no CA bundle.
            .tls_certs_only([])
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(ControlError::Client)?;
        Ok(Self { base, http })
    }

    /// The address this client talks to.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// `GET path`, decoded.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        response.json().await.map_err(|source| ControlError::Answer {
            path: path.to_owned(),
            source,
        })
    }

    /// Sends `body` as JSON and decodes the JSON of the answer.
    pub async fn exchange<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ControlError> {
        let response = self.send(method, path, Some(body)).await?;
        response.json().await.map_err(|source| ControlError::Answer {
            path: path.to_owned(),
            source,
        })
    }

    /// Sends `body`, if any, as JSON; only the status of the answer counts.
    pub async fn command<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(), ControlError> {
        self.send(method, path, body).await.map(drop)
    }

    async fn send<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<reqwest::Response, ControlError> {
        let url = self.base.join(path).map_err(|_| ControlError::Path {
            path: path.to_owned(),
        })?;
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|source| ControlError::Unreachable {
            path: path.to_owned(),
            source,
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let message = response.text().await.unwrap_or_default();
        Err(ControlError::Refused {
            path: path.to_owned(),
            status,
            message,
        })
    }
}
