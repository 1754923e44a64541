//! The rules for the application and the audience.

use behalf_contract::is_guid;
use url::Url;

use super::refuse;
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
