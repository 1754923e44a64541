//! The certificate authorities of outgoing connections.

use behalf_contract::SidecarConfig;
use behalf_entra::TrustRoots;

/// The certificates that all outgoing connections trust, except those to Redis.
pub(crate) fn trust_roots(config: &SidecarConfig) -> TrustRoots {
    match &config.entra.certificate_authority_file {
        Some(path) => TrustRoots::with_bundle(path),
        None => TrustRoots::system(),
    }
}
