//! A request to a host through a proxy: `CONNECT`, then TLS with the host in the tunnel.
//!
//! `CONNECT` names the host, or an address of it that this process has resolved and checked. In both cases the host's name
//! is in SNI, in the check of the certificate, and in `Host`.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io};

use axum::body::Body;
use axum::http::header::{ACCEPT, HOST, USER_AGENT};
use axum::http::{Request, Response, StatusCode, Uri};
use behalf_contract::DocumentUrl;
use behalf_entra::TlsSettings;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::{Service, ServiceExt as _};
use url::Url;

/// The media type that a document should have.
pub(super) const JSON: &str = "application/json";

/// Limit for the connection to the proxy, so that a proxy that nobody reaches has an error of its own. A lost packet is sent
/// again after one second. The addresses of one family share it, and those of the other family are tried beside them (RFC 8305).
const PROXY_LIMIT: Duration = Duration::from_millis(1200);

/// TLS with a host, in a tunnel through a proxy.
pub(super) type TunnelConnection = TlsStream<TokioIo<Upgraded>>;

/// The end of a tunnel, as `CONNECT` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination<'a> {
    /// The proxy resolves the name.
    Name(&'a str),

    /// The proxy resolves nothing.
    Address(SocketAddr),
}

impl fmt::Display for Destination<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(host) => write!(formatter, "{host}:443"),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

/// Why a proxy did not lead to the host, or the host did not answer. Only the log contains it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error(
        "no connection to the proxy {proxy}: check proxy.https of the chart behalf, and that the Pod's network policy \
         (spec.network.egress) admits it"
    )]
    Proxy {
        proxy: String,
        #[source]
        source: io::Error,
    },

    #[error(
        "{proxy} does not answer as an HTTP proxy does: check host and port of proxy.https of the chart behalf; the port must \
         expect HTTP without TLS"
    )]
    NoProxy {
        proxy: String,
        #[source]
        source: hyper::Error,
    },

    #[error(
        "the proxy {proxy} demands a user and a password (407), which Behalf never sends: let it admit the Pods by their \
         network, or name in proxy.https of the chart behalf a proxy in the cluster that adds the credentials"
    )]
    Credentials { proxy: String },

    #[error(
        "the proxy {proxy} answered {status} for {address}, an address of the host: if it admits names alone, list the hosts \
         of your users' clients in allowed.documentHosts of the chart behalf"
    )]
    AddressRefused {
        proxy: String,
        address: SocketAddr,
        status: StatusCode,
    },

    #[error("the proxy {proxy} answered {status} for the host: let it admit the host on port 443")]
    NameRefused { proxy: String, status: StatusCode },

    #[error(
        "the proxy {proxy} opened no tunnel to {destination} in time: check that it reaches this destination"
    )]
    TimedOut { proxy: String, destination: String },

    #[error(
        "{proxy} closed the connection and did not answer for {destination}: check host and port of proxy.https of the chart \
         behalf, and that the proxy admits and reaches this destination"
    )]
    Closed {
        proxy: String,
        destination: String,
        #[source]
        source: hyper::Error,
    },

    #[error(
        "the tunnel through the proxy {proxy} to {destination} ended before TLS began: check that the proxy admits and reaches \
         this destination"
    )]
    TunnelEnded {
        proxy: String,
        destination: String,
        #[source]
        source: io::Error,
    },

    #[error(
        "no TLS connection to the host in the tunnel: if the proxy inspects TLS, put its certificate authority into the \
         ConfigMap of spec.entra.certificateAuthorityRef; else the certificate of the host is not valid"
    )]
    Tls(#[source] io::Error),

    #[error("the host has no valid name")]
    Name(#[source] rustls_pki_types::InvalidDnsNameError),

    #[error("the request cannot be written")]
    Request(#[source] axum::http::Error),

    #[error("the host did not answer the request in the tunnel")]
    Host(#[source] hyper::Error),

    #[error("the host did not answer the request in the tunnel in time")]
    HostTimedOut,
}

impl TunnelError {
    /// True if the proxy may reach the host at another of its addresses.
    pub(super) fn concerns_one_address(&self) -> bool {
        matches!(
            self,
            Self::AddressRefused { .. }
                | Self::TimedOut { .. }
                | Self::Closed { .. }
                | Self::TunnelEnded { .. }
        )
    }
}

/// Opens a tunnel, and TLS with `host` in it.
pub(super) async fn open(
    proxy: &Url,
    destination: Destination<'_>,
    host: &str,
    tls: &TlsSettings,
) -> Result<TunnelConnection, TunnelError> {
    let name = ServerName::try_from(host.to_owned()).map_err(TunnelError::Name)?;
    let no_connection = |source| TunnelError::Proxy {
        proxy: proxy.to_string(),
        source,
    };
    let no_proxy = |source| {
        let proxy = proxy.to_string();
        if is_closed(&source) {
            let destination = destination.to_string();
            TunnelError::Closed {
                proxy,
                destination,
                source,
            }
        } else {
            TunnelError::NoProxy { proxy, source }
        }
    };
    let no_tls = |source: io::Error| match source.kind() {
        // The answer is not TLS, or the certificate is not valid.
        io::ErrorKind::InvalidData => TunnelError::Tls(source),
        _ => TunnelError::TunnelEnded {
            proxy: proxy.to_string(),
            destination: destination.to_string(),
            source,
        },
    };
    let connecting = timeout(PROXY_LIMIT, connect(limited(HttpConnector::new()), proxy)).await;
    let stream = connecting
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(no_connection)?;
    let authority = destination.to_string();
    let request = Request::connect(&authority)
        .header(HOST, &authority)
        .body(Body::empty())
        .map_err(TunnelError::Request)?;
    let response = send(stream, request).await.map_err(no_proxy)?;
    check(response.status(), proxy, destination)?;
    let tunnel = hyper::upgrade::on(response).await.map_err(no_proxy)?;
    TlsConnector::from(tls.current())
        .connect(name, TokioIo::new(tunnel))
        .await
        .map_err(no_tls)
}

/// True if the peer closed the connection before it answered.
fn is_closed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    error.is_incomplete_message() || error.is_canceled() || cause.is_some()
}

/// Checks the proxy's answer to `CONNECT`.
fn check(status: StatusCode, proxy: &Url, destination: Destination<'_>) -> Result<(), TunnelError> {
    let proxy = proxy.to_string();
    match destination {
        _ if status.is_success() => Ok(()),
        _ if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(TunnelError::Credentials { proxy }),
        Destination::Address(address) => Err(TunnelError::AddressRefused {
            proxy,
            address,
            status,
        }),
        Destination::Name(_) => Err(TunnelError::NameRefused { proxy, status }),
    }
}

/// Asks for the document at `url`.
pub(super) async fn get(
    connection: TunnelConnection,
    url: &DocumentUrl,
) -> Result<Response<Body>, TunnelError> {
    let rest = url.as_str().strip_prefix("https://");
    let path = rest.and_then(|rest| rest.split_once('/'));
    let path = path.map_or("", |(_, path)| path);
    let request = Request::get(format!("/{path}"))
        .header(HOST, url.host())
        .header(ACCEPT, JSON)
        .header(USER_AGENT, concat!("behalf/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())
        .map_err(TunnelError::Request)?;
    send(TokioIo::new(connection), request)
        .await
        .map_err(TunnelError::Host)
}

/// Gives each address a part of the time, so that one that never answers leaves some for the next.
fn limited<R>(mut connector: HttpConnector<R>) -> HttpConnector<R> {
    connector.set_connect_timeout(Some(PROXY_LIMIT));
    connector
}

async fn connect<C>(connector: C, proxy: &Url) -> io::Result<TokioIo<TcpStream>>
where
    C: Service<Uri, Response = TokioIo<TcpStream>, Error: Error + Send + Sync + 'static>,
{
    let address: Uri = proxy.as_str().parse().map_err(io::Error::other)?;
    connector.oneshot(address).await.map_err(io::Error::other)
}

/// Sends the only request of a connection. The connection's task ends when the answer has been read or dropped.
async fn send<T>(connection: T, request: Request<Body>) -> Result<Response<Body>, hyper::Error>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(connection).await?;
    // Its error is also that of the request, or of the answer's body.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?.map(Body::new))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper_util::client::legacy::connect::dns::Name;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_proxy_whose_first_address_never_answers_is_reached_at_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::from(([127, 0, 0, 2], address.port())))
            .unwrap();
        let silent = socket.listen(1).unwrap();
        let first = silent.local_addr().unwrap();
        // Two connections fill the queue of a listener that has room for one. The kernel ignores the third.
        let _queue = [(); 2].map(|()| std::net::TcpStream::connect(first).unwrap());
        let both =
            tower::service_fn(
                move |_: Name| async move { Ok::<_, Infallible>(vec![first, address].into_iter()) },
            );
        let proxy = format!("http://proxy.corp.example:{}", address.port())
            .parse()
            .unwrap();
        let connecting = connect(limited(HttpConnector::new_with_resolver(both)), &proxy);
        let connected = timeout(PROXY_LIMIT, connecting).await.expect("in time").unwrap();
        assert_eq!(connected.inner().peer_addr().unwrap(), address);
    }
}
