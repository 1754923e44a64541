//! Outgoing connections: trusted certificates, the proxy, and time limits.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use behalf_contract::EgressProxy;
use reqwest::dns::Resolve;
use reqwest::{Certificate, Proxy};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

/// Why no client could be built. An administrator must correct the CA bundle.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The bundle is missing, or the process may not read it.
    #[error("failed to read the CA bundle {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,

        /// The cause.
        #[source]
        source: std::io::Error,
    },

    /// The bundle is not a list of PEM certificates.
    #[error("the CA bundle {} contains no readable PEM certificate", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,

        /// The cause; absent if the file contains no certificate.
        #[source]
        source: Option<reqwest::Error>,
    },

    /// A certificate of the bundle, or the system's bundle, cannot be used in a tunnel.
    #[error("failed to set up TLS with the CA bundle of the system and of the configuration")]
    Tunnel(#[source] rustls::Error),

    /// The TLS stack refused to start.
    #[error("failed to set up TLS: an image needs a CA bundle of the system")]
    Tls(#[source] reqwest::Error),
}

/// The certificates that outgoing connections trust: the system's, and those of a file if one is given.
#[derive(Clone, Debug)]
pub struct TrustRoots {
    bundle: Option<PathBuf>,
}

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
    /// Trusts the system's roots.
    pub fn system() -> Self {
        Self { bundle: None }
    }

    /// Trusts the system's roots and the PEM certificates of `path`. The file may change while the process runs.
    pub fn with_bundle(path: impl Into<PathBuf>) -> Self {
        Self {
            bundle: Some(path.into()),
        }
    }

    /// Builds a client with these roots. The bundle must be readable now. If a later version is not, the failure
    /// is logged and the client keeps the version before.
    pub fn http_client(&self, limits: HttpLimits, proxies: Proxies) -> Result<HttpClient, TrustError> {
        self.client_of(Settings {
            bundle: self.bundle.clone(),
            limits,
            proxies,
            resolver: None,
        })
    }

    /// Builds a client for addresses that strangers choose. It connects only to addresses that `resolver` returns,
    /// and to no proxy, because a proxy would resolve the names itself. It keeps no connection open. An address without a name does not pass the resolver, so the caller refuses it.
    pub fn http_client_resolving(
        &self,
        limits: HttpLimits,
        resolver: Arc<dyn Resolve>,
    ) -> Result<HttpClient, TrustError> {
        self.client_of(Settings {
            bundle: self.bundle.clone(),
            limits,
            proxies: Proxies::None,
            resolver: Some(resolver),
        })
    }

    /// Returns the TLS settings of a connection with these roots, for a tunnel that the caller opens. Reads the bundle.
    pub fn tls(&self) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let bundle: Vec<CertificateDer<'static>> = match &self.bundle {
            None => Vec::new(),
            Some(path) => {
                let unusable = || TrustError::Unusable {
                    path: path.clone(),
                    source: None,
                };
                CertificateDer::pem_slice_iter(&read(path)?)
                    .collect::<Result<_, _>>()
                    .map_err(|_| unusable())?
            }
        };
        let verifier =
            Verifier::new_with_extra_roots(bundle, Arc::clone(&provider)).map_err(TrustError::Tunnel)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tunnel)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }

    fn client_of(&self, settings: Settings) -> Result<HttpClient, TrustError> {
        let version = self.bundle.as_deref().and_then(version);
        let client = build(&settings)?;
        let current = Mutex::new(Current { client, version });
        Ok(HttpClient(Arc::new(Shared { settings, current })))
    }
}

/// An HTTP client whose trust roots follow their file. Cheap to clone; clones share their connections.
///
/// It never follows a redirect, so that a credential reaches no other address.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    settings: Settings,
    current: Mutex<Current>,
}

struct Settings {
    bundle: Option<PathBuf>,
    limits: HttpLimits,
    proxies: Proxies,
    resolver: Option<Arc<dyn Resolve>>,
}

struct Current {
    client: reqwest::Client,
    version: Option<Version>,
}

/// Device, inode, size and modification time: differs for each version of a mounted `ConfigMap`, where the
/// kubelet swaps a symbolic link to a new folder.
type Version = (u64, u64, u64, i64, i64);

impl HttpClient {
    /// Returns the client for the next request. Call this for each request: after a change of the bundle a new
    /// client opens new connections.
    pub fn client(&self) -> reqwest::Client {
        let shared = &*self.0;
        let mut current = shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &shared.settings.bundle
            && let Some(version) = version(path)
            && current.version != Some(version)
        {
            // Remembered in any case, so that a broken bundle is reported once.
            current.version = Some(version);
            match build(&shared.settings) {
                Ok(client) => {
                    current.client = client;
                    tracing::info!(path = %path.display(), "Loaded a changed CA bundle");
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    path = %path.display(),
                    "Unable to use the new CA bundle, the one before stays in force: {error}"
                ),
            }
        }
        current.client.clone()
    }
}

/// A client that was built elsewhere and never changes.
impl From<reqwest::Client> for HttpClient {
    fn from(client: reqwest::Client) -> Self {
        Self(Arc::new(Shared {
            settings: Settings {
                bundle: None,
                limits: HttpLimits::default(),
                proxies: Proxies::None,
                resolver: None,
            },
            current: Mutex::new(Current {
                client,
                version: None,
            }),
        }))
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HttpClient")
            .field("bundle", &self.0.settings.bundle)
            .finish_non_exhaustive()
    }
}

fn version(path: &Path) -> Option<Version> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    std::fs::read(path).map_err(|source| TrustError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn build(settings: &Settings) -> Result<reqwest::Client, TrustError> {
    let Settings {
        bundle,
        limits,
        proxies,
        resolver,
    } = settings;
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
            let choose = move |url: &url::Url| proxy.serves(url).cloned();
            // This one replaces the proxies of the environment.
            builder.proxy(Proxy::custom(choose))
        }
    };
    let Some(path) = bundle else {
        return builder.build().map_err(TrustError::Tls);
    };

    let pem = read(path)?;
    let unusable = |source| TrustError::Unusable {
        path: path.clone(),
        source,
    };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(Some(error)))?;
    if certificates.is_empty() {
        return Err(unusable(None));
    }
    builder
        .tls_certs_merge(certificates)
        .build()
        .map_err(|error| unusable(Some(error)))
}
