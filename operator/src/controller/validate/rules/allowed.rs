//! What the installation allows. Who may write objects need not be allowed to create Pods, so an object
//! decides neither which code holds the application's token nor to whom tokens are sent.

use url::Url;

use super::refuse;
use crate::controller::allowed::{Allowed, host};
use crate::controller::validate::Refusal;

/// The sidecar's container holds the keyring and the application's token.
pub(crate) fn sidecar_image(image: &str, allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    if !allowed.sidecar_image(image) {
        refuse(
            refusals,
            "sidecar.image",
            format!(
                "must not be {image:?}: this installation does not allow that repository; leave the field out, or \
                 have whoever installed the operator add the repository to allowed.sidecarRepositories of the chart \
                 behalf"
            ),
        );
    }
}

/// Entra gets the application's token and users' tokens.
pub(crate) fn entra_host(url: &Url, allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    if !allowed.entra(url) {
        refuse_host(refusals, "entra.authority", url, "allowed.entraHosts");
    }
}

/// Azure DevOps gets users' tokens.
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

fn refuse_host(refusals: &mut Vec<Refusal>, field: &'static str, url: &Url, value: &str) {
    let host = host(url).unwrap_or_default();
    refuse(
        refusals,
        field,
        format!(
            "must not name the host {host}: this installation does not allow it; name another one, or have whoever \
             installed the operator add it to {value} of the chart behalf"
        ),
    );
}
