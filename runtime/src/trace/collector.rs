//! The collector: OTLP over HTTP with protobuf.

use axum::http::header::CONTENT_TYPE;
use behalf_contract::TracingConfig;
use bytes::BytesMut;
use prost::Message as _;

use super::otlp::{
    ExportRequest, ExportResponse, OtlpSpan, Resource, ResourceSpans, Scope, ScopeSpans, attribute,
};

/// Maximum size of a collector's answer in bytes. It has a number, and a text for people.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The collector, and how to reach it.
pub struct Collector {
    /// Without a slash at its end.
    endpoint: String,

    /// The setting that names the endpoint, for the log.
    setting: &'static str,
    resource: Resource,
    client: Box<dyn Fn() -> reqwest::Client + Send + Sync>,
}

/// Why the collector did not get a batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("it did not answer")]
    Unreachable(#[source] reqwest::Error),

    #[error("it answered {0}")]
    Refused(reqwest::StatusCode),
}

impl Collector {
    /// The collector of the configuration. `service` is the name of the program, and `client` returns the HTTP client for
    /// the next request.
    pub fn new(
        config: &TracingConfig,
        service: &str,
        client: impl Fn() -> reqwest::Client + Send + Sync + 'static,
    ) -> Self {
        let object = &config.object;
        let attributes = [
            ("k8s.namespace.name", object.namespace.as_str()),
            ("behalf.mcp_server.name", object.name.as_str()),
        ];
        Self::named(
            config.origin(),
            "spec.tracing.endpoint",
            service,
            &attributes,
            client,
        )
    }

    /// The collector of a program that belongs to no `McpServer`. `endpoint` is an origin without a slash at its end, and
    /// `setting` names it in the log. `attributes` describe the program beside its name and version.
    pub fn named(
        endpoint: String,
        setting: &'static str,
        service: &str,
        attributes: &[(&'static str, &str)],
        client: impl Fn() -> reqwest::Client + Send + Sync + 'static,
    ) -> Self {
        let of_program = [
            ("service.name", service),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let all = of_program.iter().chain(attributes);
        Self {
            endpoint,
            setting,
            resource: Resource {
                attributes: all.map(|(key, value)| attribute(key, *value)).collect(),
            },
            client: Box::new(client),
        }
    }

    /// Returns the number of spans that the collector rejected although it accepted the request.
    pub(super) async fn send(&self, spans: Vec<OtlpSpan>) -> Result<usize, ExportError> {
        let request = ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: "behalf".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans,
                }],
            }],
        };
        let response = (self.client)()
            .post(format!("{}/v1/traces", self.endpoint))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(request.encode_to_vec())
            .send()
            .await
            .map_err(|error| ExportError::Unreachable(error.without_url()))?;
        if response.status().is_success() {
            Ok(rejected(response).await)
        } else {
            Err(ExportError::Refused(response.status()))
        }
    }

    /// Logs the begin and the end of an outage, once each.
    pub(super) fn log_change(&self, result: &Result<usize, ExportError>, is_away: &mut bool) {
        let was_away = std::mem::replace(is_away, result.is_err());
        match result {
            Err(error) if !was_away => tracing::warn!(
                error = error as &dyn std::error::Error,
                trace.collector = self.endpoint,
                "The trace collector {} does not accept spans: {error}. They are dropped until it does. Check that {} \
                 is an OTLP/HTTP receiver (usually port 4318) and that this Pod may connect to it",
                self.endpoint,
                self.setting
            ),
            Ok(_) if was_away => tracing::info!(
                trace.collector = self.endpoint,
                "The trace collector {} accepts spans again",
                self.endpoint
            ),
            _ => {}
        }
    }
}

/// Reads the number of rejected spans in a collector's answer. An answer that cannot be read rejects none.
async fn rejected(mut response: reqwest::Response) -> usize {
    let mut body = BytesMut::new();
    while let Ok(Some(part)) = response.chunk().await {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            return 0;
        }
        body.extend_from_slice(&part);
    }
    let partial = ExportResponse::decode(body)
        .ok()
        .and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0))
}
