//! The collector of traces, in the configuration of both programs of a Pod.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::ObjectIdentity;

/// The collector to which a program sends its spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingConfig {
    /// The origin of an OTLP/HTTP receiver: `http` or `https`, host and port.
    pub endpoint: Url,

    /// The `McpServer` whose Pod sends the spans.
    pub object: ObjectIdentity,
}

impl TracingConfig {
    /// Returns whether the endpoint is an origin: http or https, and nothing behind host and port.
    pub fn is_origin(&self) -> bool {
        let url = &self.endpoint;
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    }

    /// Returns the origin without a slash at its end.
    pub fn origin(&self) -> String {
        self.endpoint.as_str().trim_end_matches('/').to_owned()
    }
}
