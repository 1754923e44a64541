//! From what was configured to the MCP server and its router.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use behalf_contract::AzureDevOpsConfig;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::azure_cli::AzureCli;
use crate::azure_devops::{AzureDevOps, Options};
use crate::hop::{self, Hop};
use crate::tools::{CredentialSource, Projects, Tools};

/// The path of the MCP endpoint.
pub const PATH: &str = "/mcp";

/// Names under which a local client may address the server, with any port. A page of another site that has
/// its name pointed at this machine (DNS rebinding) has another.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// Where a call's token comes from.
pub enum Credentials {
    /// The sidecar sends it with each call.
    InnerHop(Hop),

    /// The Azure CLI's login.
    AzureCli(Arc<AzureCli>),
}

/// The MCP server, ready to be put behind a transport.
pub struct App {
    tools: Tools,
    hop: Option<Arc<Hop>>,
}

impl App {
    /// `tenant_id`: the tenant of the users' tokens, when it is known.
    pub fn new(
        config: &AzureDevOpsConfig,
        http: behalf_entra::HttpClient,
        tenant_id: Option<String>,
        suppress_sign_in_page: bool,
        credentials: Credentials,
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
        let tools = Tools::new(
            AzureDevOps::new(http, options),
            projects,
            config.read_only,
            source,
        );
        Self { tools, hop }
    }

    /// The MCP endpoint. Each request stands on its own in both eras of the protocol, so there are no
    /// sessions and no streams: GET and DELETE are 405, and a client that goes away ends its call.
    pub fn router(&self) -> Router {
        let tools = self.tools.clone();
        let service = StreamableHttpService::new(
            move || Ok(tools.clone()),
            Arc::new(NeverSessionManager::default()),
            StreamableHttpServerConfig::default()
                .with_legacy_session_mode(false)
                .with_json_response(true)
                .with_max_request_body_bytes(hop::LARGEST_BODY)
                .with_allowed_hosts(HOSTS)
                .with_allowed_origins(ORIGINS)
                .enforce_origin_validation(),
        );
        let router = Router::new().route_service(PATH, service);
        match &self.hop {
            Some(hop) => router.layer(from_fn_with_state(Arc::clone(hop), hop::guard)),
            None => router.route_layer(from_fn(hop::check_message)),
        }
    }

    /// The MCP server for a transport without HTTP.
    pub(crate) fn tools(&self) -> Tools {
        self.tools.clone()
    }
}
