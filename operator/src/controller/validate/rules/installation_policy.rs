//! The rules of the installation policy. A user who can write objects may lack the right to create Pods, so an object must
//! not decide to which hosts tokens are sent.

use url::Url;

use super::refuse;
use crate::controller::validate::Refusal;
use crate::controller::validate::installation_policy::{Allowed, address, host};

/// Validates the host of the authority. The Pods send it the application's token and users' tokens.
pub(crate) fn entra_host(url: &Url, allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    if !allowed.entra(url) {
        refuse_host(refusals, "entra.authority", url, "allowed.entraHosts");
    }
}

/// Validates the host of an endpoint of Azure DevOps. The Pods send it users' tokens.
pub(crate) fn azure_dev_ops_host(
    field: &'static str,
    url: &Url,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) {
    if !allowed.azure_dev_ops(url) {
        refuse_host(refusals, field, url, "allowed.azureDevOpsHosts");
    }
}

/// Validates an https redirect URI. The sidecar sends authorization codes to it.
pub(crate) fn redirect_host(field: &'static str, url: &Url, allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    if !allowed.redirect(url) {
        refuse_host(refusals, field, url, "allowed.redirectHosts");
    }
}

/// Validates that the host of `publicUrl` is not reserved for other namespaces.
pub(crate) fn public_url_host(url: &Url, namespace: &str, allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    if !allowed.namespaces.allow_public_url(namespace, url) {
        let value = format!("the host {}", address(url));
        refuse_reserved(refusals, "publicUrl", &value, namespace, "publicUrlHosts");
    }
}

/// Validates that the application is not reserved for other namespaces.
pub(crate) fn client_id(
    field: &'static str,
    id: &str,
    namespace: &str,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) {
    if !allowed.namespaces.allow_client_id(namespace, id) {
        let value = format!("the application {id}");
        refuse_reserved(refusals, field, &value, namespace, "clientIds");
    }
}

fn refuse_reserved(
    refusals: &mut Vec<Refusal>,
    field: &'static str,
    value: &str,
    namespace: &str,
    list: &str,
) {
    refuse(
        refusals,
        field,
        format!(
            "must not name {value}: this installation does not allow it in namespace {namespace}; name another one, or \
             have an administrator of the installation allow it with namespaces.{namespace}.{list} of the chart \
             behalf, which limits the namespace to the entries of that list"
        ),
    );
}

fn refuse_host(refusals: &mut Vec<Refusal>, field: &'static str, url: &Url, value: &str) {
    let host = host(url).unwrap_or_default();
    refuse(
        refusals,
        field,
        format!(
            "must not name the host {host}: this installation does not allow it; name another one, or have an \
             administrator of the installation allow it with {value} of the chart behalf"
        ),
    );
}
