//! The rule for the collector of traces.

use behalf_contract::{ObjectIdentity, TracingConfig};
use url::Url;

use super::refuse;
use crate::api::v1alpha1::Tracing;
use crate::controller::validate::Refusal;

const ENDPOINT: &str = "tracing.endpoint";

/// The port of OTLP/gRPC, which the programs do not speak.
const GRPC: u16 = 4317;

/// Returns the configuration of both programs of a Pod.
pub(crate) fn tracing(
    tracing: Option<&Tracing>,
    object: &ObjectIdentity,
    refusals: &mut Vec<Refusal>,
) -> Option<TracingConfig> {
    match parse_endpoint(&tracing?.endpoint) {
        Ok(endpoint) => Some(TracingConfig {
            endpoint,
            object: object.clone(),
        }),
        Err(rule) => {
            refuse(refusals, ENDPOINT, rule);
            None
        }
    }
}

/// Parses the origin of a collector. The error is the end of a sentence about it.
pub(crate) fn parse_endpoint(text: &str) -> Result<Url, &'static str> {
    let endpoint = origin(text).ok_or(
        "must be http://<host>:<port> or https://<host>:<port> in lower case, without user, path or trailing slash",
    )?;
    if endpoint.port() == Some(GRPC) {
        return Err("must name an OTLP/HTTP receiver, usually port 4318: 4317 is the port of OTLP/gRPC");
    }
    Ok(endpoint)
}

/// Returns the URL if `text` is nothing but scheme, host and port.
fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let (scheme, host, port) = (url.scheme(), url.host_str()?, url.port_or_known_default()?);
    let is_exact = matches!(scheme, "http" | "https") && text == format!("{scheme}://{host}:{port}");
    (is_exact && port != 0).then_some(url)
}
