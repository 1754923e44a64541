//! The certificates that outgoing connections trust, and the values that are built from them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

/// Why no client could be built. An administrator must correct the CA bundle.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The bundle is missing, or the process may not read it.
    #[error(
        "failed to read the CA bundle {}; check that the file exists, and that this process may read it",
        path.display()
    )]
    Unreadable {
        /// Path of the bundle, from the configuration.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The bundle is not a list of PEM certificates.
    #[error(
        "the CA bundle {} cannot be used; each of its entries must be a certificate in PEM form, and there must be one",
        path.display()
    )]
    Unusable {
        /// Path of the bundle, from the configuration.
        path: PathBuf,

        /// The cause; absent if the file contains no certificate.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// A certificate of the bundle, or the system's bundle, cannot be used in a tunnel.
    #[error(
        "failed to set up TLS with the CA bundle of the system and of the configuration; check that each certificate of \
         the configuration is a CA certificate, and that the image has a CA bundle"
    )]
    Tunnel(#[source] rustls::Error),

    /// The TLS stack refused to start.
    #[error(
        "failed to set up TLS; use an image with a CA bundle, such as the one of the package ca-certificates"
    )]
    Tls(#[source] reqwest::Error),
}

/// The certificates that outgoing connections trust: the system's, and those of a file if one is given.
#[derive(Clone, Debug)]
pub struct TrustRoots {
    bundle: Option<PathBuf>,
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

    /// Builds the TLS settings of connections with these roots, for a caller that opens its connections itself. The bundle
    /// must be readable now.
    pub fn tls(&self) -> Result<TlsSettings, TrustError> {
        let roots = self.clone();
        let settings = ReloadedFromBundle::new(self, move || roots.client_config())?;
        Ok(TlsSettings(Arc::new(settings)))
    }

    fn client_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let (_, certificates) = self.certificates()?.unzip();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            Verifier::new_with_extra_roots(certificates.unwrap_or_default(), Arc::clone(&provider))
                .map_err(TrustError::Tunnel)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tunnel)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    /// Reads the bundle. Returns its path and its certificates, at least one, or `None` without a bundle.
    pub(crate) fn certificates(&self) -> Result<Option<(&Path, Vec<CertificateDer<'static>>)>, TrustError> {
        let Some(path) = &self.bundle else {
            return Ok(None);
        };
        let pem = std::fs::read(path).map_err(|source| TrustError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let unusable = |source| TrustError::Unusable {
            path: path.clone(),
            source,
        };
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(Some(error.into())))?;
        if certificates.is_empty() {
            return Err(unusable(None));
        }
        Ok(Some((path, certificates)))
    }
}

/// TLS settings whose trust roots follow their file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsSettings(Arc<ReloadedFromBundle<Arc<ClientConfig>>>);

impl TlsSettings {
    /// Returns the settings for the next connection.
    pub fn current(&self) -> Arc<ClientConfig> {
        self.0.current()
    }
}

/// A value that is built from trust roots, and built again when their bundle changes.
pub(crate) struct ReloadedFromBundle<T> {
    latest: Mutex<Latest<T>>,

    /// `None` if the value never changes.
    source: Option<Source<T>>,
}

struct Latest<T> {
    value: T,
    version: Option<Version>,
}

struct Source<T> {
    bundle: PathBuf,
    build: Box<dyn Fn() -> Result<T, TrustError> + Send + Sync>,
}

/// Device, inode, size and modification time: differs for each version of a mounted `ConfigMap`, where the
/// kubelet swaps a symbolic link to a new folder.
type Version = (u64, u64, u64, i64, i64);

impl<T: Clone> ReloadedFromBundle<T> {
    /// Builds the value.
    pub(crate) fn new(
        roots: &TrustRoots,
        build: impl Fn() -> Result<T, TrustError> + Send + Sync + 'static,
    ) -> Result<Self, TrustError> {
        // Before the content, so that a change between the two is noticed later.
        let version = roots.bundle.as_deref().and_then(version);
        let value = build()?;
        Ok(Self {
            latest: Mutex::new(Latest { value, version }),
            source: roots.bundle.clone().map(|bundle| Source {
                bundle,
                build: Box::new(build),
            }),
        })
    }

    /// Returns `value` at every call.
    pub(crate) fn fixed(value: T) -> Self {
        Self {
            latest: Mutex::new(Latest { value, version: None }),
            source: None,
        }
    }

    /// Returns the value. Builds it again if the file has changed. If the new file cannot be used, the failure is logged and
    /// the value before stays.
    pub(crate) fn current(&self) -> T {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Source { bundle, build }) = &self.source
            && let Some(version) = version(bundle)
            && latest.version != Some(version)
        {
            // Remembered in any case, so that a broken bundle is reported once.
            latest.version = Some(version);
            match build() {
                Ok(value) => {
                    latest.value = value;
                    tracing::info!(path = %bundle.display(), "Loaded a changed CA bundle");
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    path = %bundle.display(),
                    "Unable to use the new CA bundle, the one before stays in force: {error}"
                ),
            }
        }
        latest.value.clone()
    }
}

impl<T> std::fmt::Debug for ReloadedFromBundle<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ReloadedFromBundle")
            .field("bundle", &self.source.as_ref().map(|source| &source.bundle))
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
