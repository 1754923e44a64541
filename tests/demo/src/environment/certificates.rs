//! The TLS certificate of the simulators, in a Secret.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::json;

use super::{EnvironmentError, NAMESPACE_SIMULATORS, Objects};
use behalf_simulators::certificates::CertificateAuthority;

/// The Secret with the simulators' TLS key and certificate, and the authority's certificate.
pub(super) const TLS_SECRET: &str = "simulators-tls";

/// The simulators' Services.
const SERVICES: [&str; 2] = ["entra", "azure-devops"];

/// Makes the simulators' certificate once, and returns the authority's certificate (PEM).
///
/// The authority's key is dropped: nothing else can ever be issued under it. The Secret holds the
/// simulators' own key, no credential of Entra or Azure DevOps.
pub(super) async fn ensure(client: &Client) -> Result<String, EnvironmentError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE_SIMULATORS);
    let found = secrets
        .get_opt(TLS_SECRET)
        .await
        .map_err(EnvironmentError::api("read the simulators' certificate"))?;
    if let Some(certificate) = found.as_ref().and_then(authority_of) {
        return Ok(certificate);
    }

    let names: Vec<String> = SERVICES.into_iter().flat_map(names).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let authority =
        CertificateAuthority::generate("Behalf simulators").map_err(EnvironmentError::Certificates)?;
    let identity = authority.issue(&names).map_err(EnvironmentError::Certificates)?;
    let mut objects = Objects::default();
    objects.add(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": TLS_SECRET, "namespace": NAMESPACE_SIMULATORS},
        "stringData": {
            "tls.crt": identity.certificate_chain_pem,
            "tls.key": identity.private_key_pem,
            "ca.crt": authority.certificate_pem(),
        },
    }));
    objects.apply(client).await?;
    Ok(authority.certificate_pem().to_owned())
}

fn authority_of(secret: &Secret) -> Option<String> {
    let data: &BTreeMap<String, ByteString> = secret.data.as_ref()?;
    String::from_utf8(data.get("ca.crt")?.0.clone()).ok()
}

/// The names under which Pods reach a Service.
fn names(service: &str) -> Vec<String> {
    let short = format!("{service}.{NAMESPACE_SIMULATORS}.svc");
    vec![
        short.clone(),
        format!("{short}.cluster.local"),
        service.to_owned(),
    ]
}
