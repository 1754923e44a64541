//! The way to the host of a metadata document: directly, or through the proxy of the installation.
//!
//! Strangers choose the host. A checked address limits what they reach, except at the hosts that the installation lists
//! (`docs/adr/0047-*`).

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::ACCEPT;
use behalf_contract::{DocumentUrl, EgressProxy};
use behalf_entra::{HttpClient, HttpLimits, TlsSettings, TrustError, TrustRoots};
use reqwest::dns::Resolve;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::public_addresses::{NoPublicAddress, TooManyLookUps};
use super::tunnel::{self, Destination, JSON, TunnelError};

/// Limits for the connection, and for the whole answer. A user waits for it.
pub(super) const LIMITS: HttpLimits = HttpLimits {
    connect: Duration::from_secs(3),
    request: Duration::from_secs(5),
};

/// Limit for a whole fetch through the proxy, up to the head of the answer. It passes before that of [`LIMITS`], so that the log
/// says which step took too long.
const DEADLINE: Duration = Duration::from_millis(4500);

/// Limit for the look-up of a name. It leaves time for one address of each family.
const LOOK_UP_LIMIT: Duration = Duration::from_millis(1500);

/// Limit for a tunnel to one of several addresses, and TLS in it. A proxy may wait long for an address that it cannot reach, as
/// one without IPv6 does. The last address has the time that is left.
const ADDRESS_LIMIT: Duration = Duration::from_millis(1500);

/// Maximum number of addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Sends requests for documents.
pub(super) struct Source {
    /// Connects to an address that the resolver has checked.
    direct: HttpClient,
    proxied: Option<Proxied>,
}

/// The way through a proxy.
struct Proxied {
    proxy: EgressProxy,

    /// The hosts that the proxy resolves. The installation lists them.
    hosts_by_name: Vec<String>,

    /// Checks the addresses of all other hosts.
    resolver: Arc<dyn Resolve>,
    tls: TlsSettings,
}

/// The look-up of a host failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the Pod's name servers do not know the host: if they know no names of the internet, list the hosts of your users' clients \
     in allowed.documentHosts of the chart behalf, so that the proxy resolves them"
)]
struct LookUpFailed(#[source] Box<dyn Error + Send + Sync>);

impl Source {
    /// The proxy resolves `hosts_by_name`. This process resolves all other hosts.
    pub(super) fn new(
        (roots, proxy): (&TrustRoots, Option<&EgressProxy>),
        resolver: Arc<dyn Resolve>,
        hosts_by_name: &[String],
    ) -> Result<Self, TrustError> {
        let direct = roots.http_client_resolving(LIMITS, Arc::clone(&resolver))?;
        let proxied = match proxy {
            None => None,
            Some(proxy) => Some(Proxied {
                proxy: proxy.clone(),
                hosts_by_name: hosts_by_name.to_vec(),
                resolver,
                tls: roots.tls()?,
            }),
        };
        Ok(Self { direct, proxied })
    }

    /// Asks the host for the document. Follows no redirect.
    pub(super) async fn get(
        &self,
        url: &DocumentUrl,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        let through = self.proxied.as_ref().and_then(|proxied| {
            let address = Url::parse(url.as_str()).ok()?;
            Some((proxied, proxied.proxy.proxy_for(&address)?))
        });
        if let Some((proxied, proxy)) = through {
            // On the heap, because it is rare and large: it would be a part of the future of each login.
            return Box::pin(proxied.get(proxy, url)).await;
        }
        let request = self.direct.client().get(url.as_str()).header(ACCEPT, JSON);
        Ok(Response::from(request.send().await?).map(Body::new))
    }
}

impl Proxied {
    async fn get(
        &self,
        proxy: &Url,
        url: &DocumentUrl,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        let deadline = Instant::now() + DEADLINE;
        let connection = self.connect(proxy, url.host(), deadline).await?;
        match timeout_at(deadline, tunnel::get(connection, url)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(TunnelError::HostTimedOut.into()),
        }
    }

    /// Connects to the first destination of the host that the proxy leads to. After `deadline`, returns the error of the last one
    /// that was tried.
    async fn connect(
        &self,
        proxy: &Url,
        host: &str,
        deadline: Instant,
    ) -> Result<tunnel::TunnelConnection, Box<dyn Error + Send + Sync>> {
        if self.hosts_by_name.iter().any(|listed| listed == host) {
            return Ok(self.open(proxy, Destination::Name(host), host, deadline).await?);
        }
        let mut addresses = self.addresses(host).await?.into_iter().peekable();
        let mut result = Err(NoPublicAddress.into());
        while let Some(address) = addresses.next() {
            let limit = match addresses.peek() {
                Some(_) => deadline.min(Instant::now() + ADDRESS_LIMIT),
                None => deadline,
            };
            let destination = Destination::Address(address);
            result = match self.open(proxy, destination, host, limit).await {
                Err(error) if error.concerns_one_address() => Err(error.into()),
                Err(error) => return Err(error.into()),
                Ok(connection) => return Ok(connection),
            };
            if Instant::now() >= deadline {
                break;
            }
        }
        result
    }

    async fn open(
        &self,
        proxy: &Url,
        destination: Destination<'_>,
        host: &str,
        limit: Instant,
    ) -> Result<tunnel::TunnelConnection, TunnelError> {
        timeout_at(limit, tunnel::open(proxy, destination, host, &self.tls))
            .await
            .map_err(|_| TunnelError::TimedOut {
                proxy: proxy.to_string(),
                destination: destination.to_string(),
            })?
    }

    /// The checked addresses of a host, in the order in which they are tried.
    async fn addresses(&self, host: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let look_up = timeout(LOOK_UP_LIMIT, self.resolver.resolve(host.parse()?)).await;
        let found = match look_up.unwrap_or_else(|late| Err(late.into())) {
            Ok(found) => found,
            // The name servers know the host, or were not asked: nobody should list it because of this.
            Err(error) if error.is::<NoPublicAddress>() || error.is::<TooManyLookUps>() => return Err(error),
            Err(error) => return Err(LookUpFailed(error).into()),
        };
        let found = found.map(|mut address| {
            // Port 0 stands for the port of the scheme.
            if address.port() == 0 {
                address.set_port(443);
            }
            address
        });
        Ok(in_turn(found.collect()))
    }
}

/// Returns addresses of both families alternately, beginning with the one that the resolver prefers (RFC 8305, section 4).
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let prefers_ipv6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == prefers_ipv6);
    (0..preferred.len().max(other.len()))
        .flat_map(|turn| [preferred.get(turn), other.get(turn)])
        .flatten()
        .take(MAX_ADDRESSES)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests;
