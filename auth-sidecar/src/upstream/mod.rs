//! The HTTP client for the MCP server in the same Pod: HTTP/1.1 on loopback.

mod answer;
mod connection;
mod error;
mod pool;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use url::{Host, Url};

pub use self::answer::AnswerBody;
use self::connection::UpstreamConnection;
pub use self::error::UpstreamError;
use self::pool::Pool;
use crate::host_key::HostKey;

/// The server's endpoint is not loopback, so that the sidecar must not send tokens to it.
#[derive(Debug, thiserror::Error)]
#[error("upstream {0} is not http on a loopback address with a port")]
pub struct NotLoopback(String);

/// An HTTP client with a connection pool for the MCP server. It adds the host key to each request.
#[derive(Clone)]
pub struct Upstream {
    pool: Pool,
    endpoint: Uri,
    /// The endpoint as a request to the server names it.
    path: Uri,
    address: SocketAddr,
    host: HeaderValue,
    host_key: HeaderValue,
}

impl Upstream {
    /// Creates a client for `endpoint`, which must be loopback, because tokens are sent there without TLS.
    pub fn new(endpoint: &Url, host_key: &HostKey) -> Result<Self, NotLoopback> {
        let refused = || NotLoopback(endpoint.as_str().to_owned());
        let ip = match endpoint.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Err(refused()),
        };
        if !ip.is_loopback() || endpoint.scheme() != "http" {
            return Err(refused());
        }
        let address = SocketAddr::new(ip, endpoint.port().ok_or_else(refused)?);
        let uri: Uri = endpoint.as_str().parse().map_err(|_| refused())?;
        let path = uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let host = HeaderValue::from_str(&address.to_string()).map_err(|_| refused())?;
        Ok(Self {
            pool: Pool::default(),
            endpoint: uri,
            path: path.into(),
            address,
            host,
            host_key: host_key.header_value(),
        })
    }

    /// The URL of the server's MCP endpoint.
    pub fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// Sends `request` to the endpoint. Replaces the request's URI, `Host` and host key.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<AnswerBody>, UpstreamError> {
        *request.uri_mut() = self.path.clone();
        *request.version_mut() = http::Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, self.host.clone());
        headers.insert(behalf_contract::headers::HOST_KEY, self.host_key.clone());
        loop {
            let pooled = self.pool.take();
            let is_new = pooled.is_none();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => Box::new(UpstreamConnection::open(self.address).await?),
            };
            match connection.send(request).await {
                Ok(answer) => {
                    return Ok(answer.map(|body| AnswerBody::new(body, connection, self.pool.clone())));
                }
                Err(mut error) => match error.take_message() {
                    // The server closed the idle connection before a byte of the request was sent.
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    /// True when a process listens on the server's port.
    pub async fn listens(&self) -> bool {
        connection::connect(self.address).await.is_ok()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Upstream({})", self.endpoint)
    }
}
