//! The rules for `ConfigMap`s with certificate authorities.

use k8s_openapi::api::core::v1::ConfigMap;

use super::object_name;
use crate::api::v1alpha1::{CertificateAuthorityRef, Entra};
use crate::controller::dereference::cluster_state::BEGIN_CERTIFICATE;
use crate::controller::validate::Refusal;

/// The field for Entra and Azure DevOps, with the field of the name inside.
const ENTRA: [&str; 2] = [
    "entra.certificateAuthorityRef",
    "entra.certificateAuthorityRef.name",
];

/// The value of the chart for Entra and Azure DevOps, if the object names none.
const INSTALLATION: [&str; 2] = ["the installation (certificateAuthority.configMap of the chart behalf)"; 2];

/// The field for the session store, with the field of the name inside.
pub(crate) const STORE: [&str; 2] = [
    "sessions.store.redis.certificateAuthorityRef",
    "sessions.store.redis.certificateAuthorityRef.name",
];

/// Returns which field or value names the certificate authorities for Entra and Azure DevOps.
pub(crate) fn named_by(entra: &Entra) -> [&'static str; 2] {
    match entra.certificate_authority_ref {
        Some(_) => ENTRA,
        None => INSTALLATION,
    }
}

/// Validates that the bundle exists and contains a certificate. The containers parse it.
pub(crate) fn certificate_authority(
    [field, field_of_name]: [&'static str; 2],
    reference: Option<&CertificateAuthorityRef>,
    found: Option<&ConfigMap>,
    refusals: &mut Vec<Refusal>,
) {
    let Some(reference) = reference else {
        return;
    };
    if !object_name(field_of_name, &reference.name, refusals) {
        return;
    }
    let (name, key) = (reference.name.clone(), reference.key.clone());
    let content = found.and_then(|config_map| {
        let text = config_map
            .data
            .as_ref()
            .and_then(|data| data.get(&key))
            .map(String::as_bytes);
        let bytes = config_map
            .binary_data
            .as_ref()
            .and_then(|data| data.get(&key))
            .map(|data| data.0.as_slice());
        text.or(bytes)
    });
    let begin = BEGIN_CERTIFICATE.as_bytes();
    match content {
        None => refusals.push(Refusal::CertificateAuthorityNotFound { field, name, key }),
        Some(bytes) if !bytes.windows(begin.len()).any(|window| window == begin) => {
            refusals.push(Refusal::CertificateAuthorityInvalid { name, key });
        }
        Some(_) => {}
    }
}
