//! The rules for the application, the audience and the certificate authorities.

use behalf_entra::is_guid;
use url::Url;

use super::{object_name, refuse};
use crate::api::v1alpha1::Entra;
use crate::controller::dereference::dereferenced::Found;
use crate::controller::validate::Refusal;

/// Returns a GUID in lower case, as tokens contain it.
pub(crate) fn guid(field: &'static str, text: &str, refusals: &mut Vec<Refusal>) -> Option<String> {
    if is_guid(text) {
        return Some(text.to_ascii_lowercase());
    }
    refuse(
        refusals,
        field,
        "must be a GUID, as az account show and az ad app show print them",
    );
    None
}

/// Returns the audience that Entra expects in the cloud of an authority.
/// <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-create-trust>
pub(crate) fn default_audience(authority: &Url) -> &'static str {
    match authority.host_str() {
        Some("login.microsoftonline.us") => "api://AzureADTokenExchangeUSGov",
        Some("login.partner.microsoftonline.cn") => "api://AzureADTokenExchangeChina",
        _ => "api://AzureADTokenExchange",
    }
}

/// Validates the audience. The Pods send the token to the authority that the same spec names, so that no API server and no
/// other cloud may accept it.
pub(crate) fn audience(audience: &str, refusals: &mut Vec<Refusal>) {
    let rest = audience.strip_prefix("api://").unwrap_or_default();
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        refuse(
            refusals,
            "entra.federation.audience",
            "must start with api:// and contain no spaces, as api://AzureADTokenExchange does",
        );
    }
}

/// Validates that the bundle exists and contains a certificate. The containers parse it.
pub(crate) fn certificate_authority(entra: &Entra, found: &Found, refusals: &mut Vec<Refusal>) {
    let Some(reference) = &entra.certificate_authority_ref else {
        return;
    };
    if !object_name("entra.certificateAuthorityRef.name", &reference.name, refusals) {
        return;
    }
    let (name, key) = (reference.name.clone(), reference.key.clone());
    let content = found.certificate_authority.as_ref().and_then(|config_map| {
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
    let begin = b"-----BEGIN CERTIFICATE-----";
    match content {
        None => refusals.push(Refusal::CertificateAuthorityNotFound { name, key }),
        Some(bytes) if !bytes.windows(begin.len()).any(|window| window == begin) => {
            refusals.push(Refusal::CertificateAuthorityInvalid { name, key });
        }
        Some(_) => {}
    }
}
