//! A request through a proxy to an address that this process has resolved and checked.
//!
//! `CONNECT` names the address, so that the proxy resolves no name. The TLS connection in the tunnel is that of the
//! document's host: its name is in SNI, in the check of the certificate, and in `Host`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ACCEPT, HOST, USER_AGENT};
use axum::http::{Request, Response, Uri};
use behalf_contract::DocumentUrl;
use behalf_entra::{TrustError, TrustRoots};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel as Connect;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use reqwest::dns::Resolve;
use rustls_pki_types::ServerName;
use url::Url;

use super::LIMITS;
use super::source::JSON;

/// Maximum number of addresses of one host that are tried, because a proxy may lack IPv6.
const MOST_ADDRESSES: usize = 4;

/// TLS in a tunnel through a proxy.
type Connector = HttpsConnector<Connect<HttpConnector>>;

/// Opens tunnels.
pub(super) struct Tunnel {
    roots: TrustRoots,
    resolver: Arc<dyn Resolve>,
}

/// Why a document was not read through the proxy.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error(
        "this Pod finds no public address of the host. If its name servers do not know the names of the Internet, list \
         the hosts in spec.clients.metadataDocuments.allowedHosts, so that the proxy resolves them"
    )]
    NoAddress(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("the address of the host cannot be used")]
    Address(#[source] axum::http::Error),

    #[error("the certificate authorities cannot be used")]
    Trust(#[from] TrustError),

    #[error(
        "no connection to an address of the host through the proxy {proxy}. If it admits names alone, list the hosts in \
         spec.clients.metadataDocuments.allowedHosts"
    )]
    Refused {
        /// A text, because an error should be small.
        proxy: String,
        #[source]
        source: ClientError,
    },

    #[error("the host did not answer")]
    Silent(#[source] ClientError),
}

impl Tunnel {
    pub(super) fn new(roots: TrustRoots, resolver: Arc<dyn Resolve>) -> Self {
        Self { roots, resolver }
    }

    /// Asks for a document through `proxy`, at one public address of its host after the other until the proxy reaches one.
    pub(super) async fn get(&self, proxy: &Url, url: &DocumentUrl) -> Result<Response<Body>, TunnelError> {
        let addresses = self.addresses(url.host()).await.map_err(TunnelError::NoAddress)?;
        let client = self.client(proxy, url.host())?;
        let mut result = Err(TunnelError::NoAddress("it has none".into()));
        for address in addresses {
            let request = request(url, address).map_err(TunnelError::Address)?;
            result = match client.request(request).await {
                Ok(response) => return Ok(response.map(Body::new)),
                Err(source) if source.is_connect() => Err(TunnelError::Refused {
                    proxy: proxy.to_string(),
                    source,
                }),
                Err(source) => return Err(TunnelError::Silent(source)),
            };
        }
        result
    }

    /// A client that connects through `proxy`, and accepts only the certificate of this host.
    fn client(&self, proxy: &Url, host: &str) -> Result<Client<Connector, Body>, TunnelError> {
        let proxy = proxy.as_str().parse::<Uri>();
        let proxy = proxy.map_err(|error| TunnelError::Address(error.into()))?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| TunnelError::NoAddress(error.into()))?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(LIMITS.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.roots.tls()?)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .wrap_connector(Connect::new(proxy, connector));
        Ok(Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector))
    }

    /// The checked addresses of a host. Port 0 stands for the port of the scheme.
    async fn addresses(
        &self,
        host: &str,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = self.resolver.resolve(host.parse()?).await?;
        Ok(found.take(MOST_ADDRESSES).collect())
    }
}

/// The request to a host at this address.
fn request(url: &DocumentUrl, mut address: SocketAddr) -> Result<Request<Body>, axum::http::Error> {
    if address.port() == 0 {
        address.set_port(443);
    }
    let path = url
        .as_str()
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'));
    let path = path.map_or("", |(_, path)| path);
    Request::get(format!("https://{address}/{path}"))
        .header(HOST, url.host())
        .header(ACCEPT, JSON)
        .header(USER_AGENT, concat!("behalf/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())
}
