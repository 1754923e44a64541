//! The HTTP client for the MCP server in the same Pod: HTTP/1.1 on loopback.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::host_key::HostKey;

/// Maximum time to connect. A loopback connection succeeds or fails at once.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Idle connections close after this time. It is shorter than the idle limit of usual servers (Node: 5 s), so that
/// a server rarely closes a connection while a request is sent. A new loopback connection costs very little.
const IDLE: Duration = Duration::from_secs(4);

/// Maximum number of bytes of an answer that a connection reads ahead, and of its head. hyper's default is 400 KiB, and a
/// server decides how many connections are in this state.
const MOST_READ_AHEAD: usize = 32 * 1024;

/// The server's endpoint is not loopback, so that the sidecar must not send tokens to it.
#[derive(Debug, thiserror::Error)]
#[error("upstream {0} is not http on a loopback address with a port")]
pub struct NotLoopback(String);

/// An HTTP client with a connection pool for the MCP server. It adds the host key to each request.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client<HttpConnector, Body>,
    endpoint: Uri,
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
        let address = SocketAddr::new(ip, endpoint.port_or_known_default().ok_or_else(refused)?);
        let uri: Uri = endpoint.as_str().parse().map_err(|_| refused())?;
        let host = HeaderValue::from_str(&address.to_string()).map_err(|_| refused())?;

        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(MOST_READ_AHEAD)
            .build(connector);
        Ok(Self {
            client,
            endpoint: uri,
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
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Error> {
        *request.uri_mut() = self.endpoint.clone();
        *request.version_mut() = http::Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, self.host.clone());
        headers.insert(behalf_contract::headers::HOST_KEY, self.host_key.clone());
        self.client.request(request).await
    }

    /// True when a process listens on the server's port.
    pub async fn listens(&self) -> bool {
        matches!(
            tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(self.address)).await,
            Ok(Ok(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_an_endpoint_that_is_not_loopback() {
        let key = HostKey::from_random(&[0; 32]);
        for endpoint in [
            "http://10.0.0.1:3000/mcp",
            "https://127.0.0.1:3000/mcp",
            "http://localhost:3000/mcp",
        ] {
            assert!(
                Upstream::new(&Url::parse(endpoint).unwrap(), &key).is_err(),
                "{endpoint}"
            );
        }
        assert!(Upstream::new(&Url::parse("http://[::1]:3000/mcp").unwrap(), &key).is_ok());
    }

    #[test]
    fn debug_does_not_show_the_host_key() {
        let key = HostKey::from_random(&[9; 32]);
        let upstream = Upstream::new(&Url::parse("http://127.0.0.1:3000/mcp").unwrap(), &key).unwrap();
        let key = key.header_value();
        assert!(!format!("{upstream:?}").contains(key.to_str().unwrap()));
    }
}
