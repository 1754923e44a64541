//! Outgoing requests: the proxy, and time limits.

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::EgressProxy;
use reqwest::dns::Resolve;
use reqwest::{Certificate, Proxy};

use crate::trust_roots::{ReloadedFromBundle, TrustError, TrustRoots};

/// Time limits of outgoing requests.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Limit for a connection and its TLS handshake.
    pub connect: Duration,

    /// Limit for one request and its whole answer.
    pub request: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(10),
        }
    }
}

/// The proxy of outgoing requests.
#[derive(Clone, Debug)]
pub enum Proxies {
    /// No proxy, whatever the environment says.
    None,

    /// The proxies that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment name, for a program that a person
    /// runs.
    Environment,

    /// The proxy of the installation for the addresses that it serves, whatever the environment says.
    Installation(Arc<EgressProxy>),
}

impl From<Option<&EgressProxy>> for Proxies {
    fn from(proxy: Option<&EgressProxy>) -> Self {
        proxy.map_or(Self::None, |proxy| Self::Installation(Arc::new(proxy.clone())))
    }
}

impl TrustRoots {
    /// Builds a client with these roots. The bundle must be readable now. If a later version is not, the failure
    /// is logged and the client keeps the version before.
    pub fn http_client(&self, limits: HttpLimits, proxies: Proxies) -> Result<HttpClient, TrustError> {
        self.client_of(ClientOptions {
            roots: self.clone(),
            limits,
            proxies,
            resolver: None,
        })
    }

    /// Builds a client for addresses that strangers choose. It connects only to addresses that `resolver` returns, and to no
    /// proxy, because a proxy would resolve the names itself. It keeps no connection open.
    ///
    /// An address without a name does not pass the resolver, so the caller refuses it.
    pub fn http_client_resolving(
        &self,
        limits: HttpLimits,
        resolver: Arc<dyn Resolve>,
    ) -> Result<HttpClient, TrustError> {
        self.client_of(ClientOptions {
            roots: self.clone(),
            limits,
            proxies: Proxies::None,
            resolver: Some(resolver),
        })
    }

    fn client_of(&self, options: ClientOptions) -> Result<HttpClient, TrustError> {
        let client = ReloadedFromBundle::new(self, move || build(&options))?;
        Ok(HttpClient(Arc::new(client)))
    }
}

/// An HTTP client whose trust roots follow their file. Cheap to clone; clones share their connections.
///
/// It never follows a redirect, so that a credential reaches no other address.
#[derive(Clone, Debug)]
pub struct HttpClient(Arc<ReloadedFromBundle<reqwest::Client>>);

struct ClientOptions {
    roots: TrustRoots,
    limits: HttpLimits,
    proxies: Proxies,
    resolver: Option<Arc<dyn Resolve>>,
}

impl HttpClient {
    /// Returns the client for the next request. Call this for each request: after a change of the bundle a new
    /// client opens new connections.
    pub fn client(&self) -> reqwest::Client {
        self.0.current()
    }
}

/// A client that was built elsewhere and never changes.
impl From<reqwest::Client> for HttpClient {
    fn from(client: reqwest::Client) -> Self {
        Self(Arc::new(ReloadedFromBundle::fixed(client)))
    }
}

fn build(options: &ClientOptions) -> Result<reqwest::Client, TrustError> {
    let ClientOptions {
        roots,
        limits,
        proxies,
        resolver,
    } = options;
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("behalf/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(limits.connect)
        .timeout(limits.request);
    if let Some(resolver) = resolver {
        builder = builder
            .dns_resolver(Arc::clone(resolver))
            .pool_max_idle_per_host(0);
    }
    builder = match proxies {
        Proxies::Environment => builder,
        Proxies::None => builder.no_proxy(),
        Proxies::Installation(proxy) => {
            let proxy = Arc::clone(proxy);
            let choose = move |url: &url::Url| proxy.proxy_for(url).cloned();
            // This one replaces the proxies of the environment.
            builder.proxy(Proxy::custom(choose))
        }
    };
    let Some((path, certificates)) = roots.certificates()? else {
        return builder.build().map_err(TrustError::Tls);
    };
    let unusable = |error: reqwest::Error| TrustError::Unusable {
        path: path.to_owned(),
        source: Some(error.into()),
    };
    let certificates = certificates
        .iter()
        .map(|certificate| Certificate::from_der(certificate));
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    builder.tls_certs_merge(certificates).build().map_err(unusable)
}
