//! The CRDs of the Gateway API, as its project publishes them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use behalf_local_cluster::files::checkout;
use behalf_local_cluster::{Call, CommandError};
use serde::Deserialize;

/// The release, and the hash of its content that Go's checksum database has.
const MODULE: &str = "sigs.k8s.io/gateway-api@v1.4.1";
const SUM: &str = "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=";

const LIMIT: Duration = Duration::from_mins(2);

/// The reason why the CRDs are not there.
#[derive(Debug, thiserror::Error)]
pub enum GatewayApiError {
    /// The Go toolchain did not download the module.
    #[error("failed to download {MODULE}")]
    Download(#[source] CommandError),

    /// The output of the Go toolchain is not the description.
    #[error("failed to read where Go put {MODULE}")]
    Description(#[source] serde_json::Error),

    /// The content is not the pinned one.
    #[error("{MODULE} has the hash {0}, not the pinned one")]
    Hash(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    dir: PathBuf,
    sum: String,
}

/// Returns the file with the CRD `HTTPRoute` of the standard channel.
pub fn http_route_crd() -> Result<PathBuf, GatewayApiError> {
    standard("httproutes")
}

/// Returns the file with the CRD `Gateway` of the standard channel.
pub fn gateway_crd() -> Result<PathBuf, GatewayApiError> {
    standard("gateways")
}

fn standard(plural: &str) -> Result<PathBuf, GatewayApiError> {
    let text = Call::new("go")
        .args(["mod", "download", "-json", MODULE])
        // Outside a module's folder, which would have to name it.
        .directory(checkout().parent().unwrap_or(Path::new("/")))
        .env("GOWORK", "off")
        .limit(LIMIT)
        .text()
        .map_err(GatewayApiError::Download)?;
    let module: Module = serde_json::from_str(&text).map_err(GatewayApiError::Description)?;
    if module.sum != SUM {
        return Err(GatewayApiError::Hash(module.sum));
    }
    Ok(module.dir.join(format!(
        "config/crd/standard/gateway.networking.k8s.io_{plural}.yaml"
    )))
}
