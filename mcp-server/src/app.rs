//! Builds the MCP server and its router from the configuration.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use behalf_contract::{AzureDevOpsConfig, endpoints};
use behalf_runtime::trace::{Tracer, trace_request};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::azure_cli::AzureCli;
use crate::azure_devops::{AzureDevOps, Options};
use crate::hop::{self, Hop};
use crate::metrics::Metrics;
use crate::tools::{CredentialSource, McpServer, Projects};

/// The accepted values of `Host`, with any port. A website whose name resolves to this machine (DNS rebinding) sends
/// another.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The accepted values of `Origin`.
const ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// The source of the tokens of calls.
pub enum Credentials {
    /// The sidecar sends a token with each call.
    InnerHop(Hop),

    /// The Azure CLI's login.
    AzureCli(Arc<AzureCli>),
}

/// The MCP server, without a transport.
pub struct App {
    server: McpServer,
    hop: Option<Arc<Hop>>,
    metrics: Arc<Metrics>,
    /// `None` without a collector.
    tracer: Option<Tracer>,
}

impl App {
    /// Builds the server. `tenant_id` is the tenant of the users' tokens, if it is known. `metrics` also counts what the
    /// credentials do.
    pub fn new(
        config: &AzureDevOpsConfig,
        http: behalf_entra::HttpClient,
        tenant_id: Option<String>,
        suppress_sign_in_page: bool,
        credentials: Credentials,
        metrics: Arc<Metrics>,
    ) -> Self {
        let options = Options {
            organization: config.organization.clone(),
            endpoints: config.endpoints.clone(),
            tenant_id,
            suppress_sign_in_page,
        };
        let (source, hop) = match credentials {
            Credentials::InnerHop(hop) => (CredentialSource::InnerHop, Some(Arc::new(hop))),
            Credentials::AzureCli(login) => (CredentialSource::Local(login), None),
        };
        let projects = Projects::new(config.projects.clone());
        let client = AzureDevOps::new(http, options, Arc::clone(&metrics));
        let server = McpServer::new(client, projects, config, source);
        Self {
            server,
            hop,
            metrics,
            tracer: None,
        }
    }

    /// Records the traces of requests.
    pub(crate) fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Returns the metrics of the calls.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Sends the traces to the collector until `stop` is cancelled and the last spans are sent. Returns at once without a
    /// collector. Cancel `stop` after the last request has ended.
    pub fn export_traces(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let export = self.tracer.clone().map(|tracer| tracer.export(stop));
        async move {
            if let Some(export) = export {
                export.await;
            }
        }
    }

    /// Returns the router with the MCP endpoint. It has no sessions and no streams in any revision of the protocol: GET
    /// and DELETE are 405, and a client that closes the connection cancels its call.
    pub fn router(&self) -> Router {
        let server = self.server.clone();
        let service = StreamableHttpService::new(
            move || Ok(server.clone()),
            Arc::new(NeverSessionManager::default()),
            StreamableHttpServerConfig::default()
                .with_legacy_session_mode(false)
                .with_json_response(true)
                .with_max_request_body_bytes(hop::MAX_BODY_BYTES)
                .with_allowed_hosts(HOSTS)
                .with_allowed_origins(ORIGINS)
                .enforce_origin_validation(),
        );
        let router = Router::new().route_service(endpoints::MCP, service);
        let router = match &self.hop {
            Some(hop) => router.layer(from_fn_with_state(Arc::clone(hop), hop::guard)),
            None => router.route_layer(from_fn(hop::check_message)),
        };
        match &self.tracer {
            Some(tracer) => router.layer(from_fn_with_state(tracer.clone(), trace_request)),
            None => router,
        }
    }

    /// Returns the MCP server for a transport other than HTTP.
    pub(crate) fn server(&self) -> McpServer {
        self.server.clone()
    }
}
