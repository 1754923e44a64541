//! The CRDs of other projects, as these publish them in Go modules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use behalf_local_cluster::files::checkout;
use behalf_local_cluster::{Call, CommandError};
use serde::Deserialize;

/// A release, and the hash of its content that Go's checksum database has.
struct Release {
    module: &'static str,
    sum: &'static str,
}

const GATEWAY_API: Release = Release {
    module: "sigs.k8s.io/gateway-api@v1.4.1",
    sum: "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=",
};

const HELM_CONTROLLER: Release = Release {
    module: "github.com/fluxcd/helm-controller@v1.6.3",
    sum: "h1:MSiDP/s8xRSkO3g11vBiDStxfmJ5ZVdwDEpW7BSE/UA=",
};

const LIMIT: Duration = Duration::from_mins(2);

/// The reason why the CRDs are not there.
#[derive(Debug, thiserror::Error)]
pub enum PublishedCrdsError {
    /// The Go toolchain did not download the module.
    #[error("failed to download {module}")]
    Download {
        /// The module with its version.
        module: &'static str,
        /// The toolchain's failure.
        source: CommandError,
    },

    /// The output of the Go toolchain is not the description.
    #[error("failed to read where Go put {module}")]
    Description {
        /// The module with its version.
        module: &'static str,
        /// The parser's error.
        source: serde_json::Error,
    },

    /// The content is not the pinned one.
    #[error("{module} has the hash {found}, not the pinned one")]
    Hash {
        /// The module with its version.
        module: &'static str,
        /// The hash of the downloaded content.
        found: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    dir: PathBuf,
    sum: String,
}

/// Returns the file with the CRD `HTTPRoute` of the standard channel.
pub fn http_route_crd() -> Result<PathBuf, PublishedCrdsError> {
    GATEWAY_API.file("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml")
}

/// Returns the file with the CRD `Gateway` of the standard channel.
pub fn gateway_crd() -> Result<PathBuf, PublishedCrdsError> {
    GATEWAY_API.file("config/crd/standard/gateway.networking.k8s.io_gateways.yaml")
}

/// Returns the file with Flux' CRD `HelmRelease`.
pub fn helm_release_crd() -> Result<PathBuf, PublishedCrdsError> {
    HELM_CONTROLLER.file("config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml")
}

impl Release {
    fn file(&self, path: &str) -> Result<PathBuf, PublishedCrdsError> {
        let Self { module, sum } = *self;
        let text = Call::new("go")
            .args(["mod", "download", "-json", module])
            // Outside a module's folder, which would have to name it.
            .directory(checkout().parent().unwrap_or(Path::new("/")))
            .env("GOWORK", "off")
            .limit(LIMIT)
            .text()
            .map_err(|source| PublishedCrdsError::Download { module, source })?;
        let found: Module = serde_json::from_str(&text)
            .map_err(|source| PublishedCrdsError::Description { module, source })?;
        if found.sum != sum {
            let found = found.sum;
            return Err(PublishedCrdsError::Hash { module, found });
        }
        Ok(found.dir.join(path))
    }
}
