//! The way to the host of a metadata document: directly, or through the proxy of the installation.
//!
//! Strangers choose the host. In each way, something limits the addresses that it can name (`docs/adr/0043-*`).

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::ACCEPT;
use behalf_contract::{DocumentUrl, EgressProxy};
use behalf_entra::{HttpClient, TrustError, TrustRoots};
use reqwest::dns::Resolve;
use url::Url;

use super::LIMITS;
use super::tunnel::Tunnel;

/// The media type that a document should have.
pub(super) const JSON: &str = "application/json";

/// Sends requests for documents.
pub(super) struct Source {
    /// Connects to an address that the resolver has checked.
    direct: HttpClient,
    proxied: Option<(EgressProxy, Proxied)>,
}

/// The way through a proxy.
enum Proxied {
    /// The proxy resolves the name. An administrator has named each host.
    ByName(HttpClient),

    /// The proxy connects to an address that the resolver has checked.
    ByAddress(Tunnel),
}

impl Source {
    /// `hosts_are_listed` says that the configuration names the hosts whose documents are read.
    pub(super) fn new(
        (roots, proxy): (&TrustRoots, Option<&EgressProxy>),
        resolver: Arc<dyn Resolve>,
        hosts_are_listed: bool,
    ) -> Result<Self, TrustError> {
        let direct = roots.http_client_resolving(LIMITS, Arc::clone(&resolver))?;
        let through = |proxy: &EgressProxy| -> Result<_, TrustError> {
            let way = if hosts_are_listed {
                Proxied::ByName(roots.http_client(LIMITS, Some(proxy).into())?)
            } else {
                Proxied::ByAddress(Tunnel::new(roots.clone(), resolver))
            };
            Ok((proxy.clone(), way))
        };
        Ok(Self {
            direct,
            proxied: proxy.map(through).transpose()?,
        })
    }

    /// Asks the host for the document. Follows no redirect.
    pub(super) async fn get(
        &self,
        url: &DocumentUrl,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        let through = self.proxied.as_ref().and_then(|(proxy, way)| {
            let address = Url::parse(url.as_str()).ok()?;
            Some((proxy.serves(&address)?.clone(), way))
        });
        match through {
            None => ask(&self.direct, url).await,
            Some((_, Proxied::ByName(http))) => ask(http, url).await,
            Some((proxy, Proxied::ByAddress(tunnel))) => Ok(tunnel.get(&proxy, url).await?),
        }
    }
}

async fn ask(http: &HttpClient, url: &DocumentUrl) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    let request = http.client().get(url.as_str()).header(ACCEPT, JSON);
    Ok(Response::from(request.send().await?).map(Body::new))
}
