//! Where traces are sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{PORT, SUBDOMAIN, matches, rule};

/// The collector of traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// The origin of an OTLP/HTTP receiver, for example <http://otel.obs.svc:4318>: http or https, host and port. Name a Service
    /// of the cluster with its namespace, so that the NetworkPolicy of the Pods opens the way to it. OTLP/gRPC (port 4317) is
    /// not supported.
    #[schemars(length(min = 1, max = 270), extend("x-kubernetes-validations" = [
        matches(
            &format!(r"^https?://({SUBDOMAIN}|\[[0-9a-f:.]+\]):{PORT}$"),
            "tracing.endpoint must be http://<host>:<port> or https://<host>:<port> in lower case, without user, path or trailing \
             slash, the port at most 65535"
        ),
        rule(
            "!self.endsWith(':4317')",
            "tracing.endpoint must name an OTLP/HTTP receiver, usually port 4318: 4317 is the port of OTLP/gRPC"
        ),
    ]))]
    pub endpoint: String,
}
