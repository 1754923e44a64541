//! The MCP client of rmcp, signed in through its OAuth support.
//!
//! It gets a URL and a person at a browser, nothing else: no header, no token, no registered client.

use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig, ProtocolVersion, Tool};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationManager, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::json;
use url::Url;

/// Where the authorization server sends the browser back to. Nothing listens there: the browser hands
/// the address over instead of opening it.
pub const REDIRECT_URI: &str = "http://127.0.0.1:33419/callback";

/// The name that the client registers with and the consent page shows.
pub const CLIENT_NAME: &str = "Behalf demo client";

/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The two kinds of MCP protocol revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize` first: 2025-11-25 and before.
    Legacy,

    /// Every request on its own: 2026-07-28.
    Modern,
}

/// Why the client did not get what it wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// rmcp's OAuth support gave up.
    #[error("failed to {step}")]
    Authorization {
        /// The step of the sign-in.
        step: &'static str,
        /// rmcp's error.
        #[source]
        source: Box<rmcp::transport::auth::AuthError>,
    },

    /// The HTTP client could not be made.
    #[error("failed to build an HTTP client")]
    Http(#[source] reqwest::Error),

    /// The MCP connection was not established.
    #[error("failed to open the MCP connection")]
    Connect(#[source] Box<rmcp::service::ClientInitializeError>),

    /// An MCP request was not answered.
    #[error("failed to call {0}")]
    Call(String, #[source] Box<rmcp::ServiceError>),

    /// rmcp ended up in a state without credentials.
    #[error("the client holds no credentials after the sign-in")]
    NoCredentials,
}

/// A sign-in that waits for the person: the authorize URL is known, the answer is not.
pub struct PendingSignIn {
    mcp: Url,
    http: reqwest::Client,
    state: OAuthState,
    authorize: Url,
}

/// An HTTP client that trusts the certificate authorities of the system and this one (PEM), if there is one.
pub fn http_client(authority_pem: Option<&str>) -> Result<reqwest::Client, ClientError> {
    let mut roots = Vec::new();
    if let Some(pem) = authority_pem {
        roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(ClientError::Http)?;
    }
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .tls_certs_merge(roots)
        .build()
        .map_err(ClientError::Http)
}

impl PendingSignIn {
    /// Discovers the authorization server from the MCP endpoint, registers, and prepares the request.
    pub async fn begin(mcp: &Url) -> Result<Self, ClientError> {
        Self::begin_with(mcp, http_client(None)?).await
    }

    /// Begins a sign-in with this HTTP client, which may trust another certificate authority.
    pub async fn begin_with(mcp: &Url, http: reqwest::Client) -> Result<Self, ClientError> {
        let request = AuthorizationRequest::new(REDIRECT_URI).with_client_name(CLIENT_NAME);
        Self::start(mcp, http, request).await
    }

    /// Begins a sign-in of a client that registered before.
    pub async fn begin_again(mcp: &Url, client_id: &str) -> Result<Self, ClientError> {
        let request = AuthorizationRequest::new(REDIRECT_URI).with_preregistered_client(client_id);
        Self::start(mcp, http_client(None)?, request).await
    }

    async fn start(
        mcp: &Url,
        http: reqwest::Client,
        request: AuthorizationRequest,
    ) -> Result<Self, ClientError> {
        let failed = |step| {
            move |source| ClientError::Authorization {
                step,
                source: Box::new(source),
            }
        };
        let mut state = OAuthState::new(mcp.clone(), Some(http.clone()))
            .await
            .map_err(failed("prepare the authorization"))?;
        state
            .start_authorization(request)
            .await
            .map_err(failed("discover the authorization server and register"))?;
        let authorize = state
            .get_authorization_url()
            .await
            .map_err(failed("prepare the authorize URL"))?;
        let authorize = Url::parse(&authorize).map_err(|_| ClientError::NoCredentials)?;
        Ok(Self {
            mcp: mcp.clone(),
            http,
            state,
            authorize,
        })
    }

    /// The URL that the user's browser opens.
    pub fn authorize_url(&self) -> &Url {
        &self.authorize
    }

    /// Redeems what came back to the redirect URI.
    pub async fn finish(mut self, callback: &Url) -> Result<SignedIn, ClientError> {
        let failed = |step| {
            move |source| ClientError::Authorization {
                step,
                source: Box::new(source),
            }
        };
        self.state
            .handle_callback_url(callback.as_str())
            .await
            .map_err(failed("redeem the code"))?;
        let manager = self
            .state
            .into_authorization_manager()
            .ok_or(ClientError::NoCredentials)?;
        Ok(SignedIn {
            mcp: self.mcp,
            client: AuthClient::new(self.http, manager),
        })
    }
}

/// Calls one tool with a single HTTP request that carries this access token.
pub async fn call_with_token(mcp: &Url, access_token: &str) -> Result<reqwest::Response, ClientError> {
    call_with(&http_client(None)?, mcp, access_token).await
}

/// Calls one tool with this HTTP client, which keeps its connections.
pub async fn call_with(
    http: &reqwest::Client,
    mcp: &Url,
    access_token: &str,
) -> Result<reqwest::Response, ClientError> {
    call_request(http, mcp, access_token)
        .send()
        .await
        .map_err(ClientError::Http)
}

/// The request of such a call, for tests that add headers.
pub fn call_request(http: &reqwest::Client, mcp: &Url, access_token: &str) -> reqwest::RequestBuilder {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "list_pipeline_runs", "arguments": {"project": "shop"},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}},
    }});
    http.post(mcp.clone())
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", "list_pipeline_runs")
        .bearer_auth(access_token)
        .json(&body)
}

/// A client with credentials; it can open any number of connections.
#[derive(Clone)]
pub struct SignedIn {
    mcp: Url,
    client: AuthClient<reqwest::Client>,
}

impl SignedIn {
    /// Opens an MCP connection.
    pub async fn connect(&self, era: Era) -> Result<Connection, ClientError> {
        let config = StreamableHttpClientTransportConfig::with_uri(self.mcp.as_str());
        let transport = StreamableHttpClientTransport::with_client(self.client.clone(), config);
        let lifecycle = match era {
            Era::Legacy => ClientLifecycleMode::Initialize,
            Era::Modern => ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
        };
        let service = ClientConfig::default()
            .serve_with_lifecycle(transport, lifecycle)
            .await
            .map_err(|source| ClientError::Connect(Box::new(source)))?;
        Ok(Connection { service })
    }

    /// rmcp's manager of the credentials, for tests that refresh or inspect them.
    pub fn manager(&self) -> &std::sync::Arc<tokio::sync::Mutex<AuthorizationManager>> {
        &self.client.auth_manager
    }
}

/// An open MCP connection.
pub struct Connection {
    service: RunningService<RoleClient, ClientConfig>,
}

impl Connection {
    /// The server's tools, all pages.
    pub async fn tools(&self) -> Result<Vec<Tool>, ClientError> {
        self.service
            .list_all_tools()
            .await
            .map_err(|source| ClientError::Call("tools/list".to_owned(), Box::new(source)))
    }

    /// Calls one tool.
    pub async fn call(
        &self,
        tool: &str,
        arguments: serde_json::Value,
    ) -> Result<CallToolResult, ClientError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        self.service
            .call_tool(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments))
            .await
            .map_err(|source| ClientError::Call(tool.to_owned(), Box::new(source)))
    }

    /// Ends the connection.
    pub async fn close(self) {
        // The result does not matter, because the connection is dropped in any case.
        let _ = self.service.cancel().await;
    }
}
