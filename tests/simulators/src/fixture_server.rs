//! An MCP server with the tools that the public conformance suite calls. It replaces the built-in server in a
//! Pod.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

/// The tools, as the scenarios `tools-call-simple-text`, `-error` and `-with-progress` name them.
pub const TOOLS: [&str; 3] = [SIMPLE_TEXT, ERROR_HANDLING, WITH_PROGRESS];

const SIMPLE_TEXT: &str = "test_simple_text";
const ERROR_HANDLING: &str = "test_error_handling";
const WITH_PROGRESS: &str = "test_tool_with_progress";

/// The pause between two progress notifications, as the scenario requires.
const STEP: Duration = Duration::from_millis(50);

/// Serves MCP at `/mcp` of one address, and `ok` at every path of the other, for the kubelet's probes.
pub async fn serve(mcp: SocketAddr, probes: SocketAddr) -> io::Result<()> {
    let service = StreamableHttpService::new(
        || Ok(FixtureServer),
        Arc::new(NeverSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true),
    );
    let mcp = axum::serve(
        TcpListener::bind(mcp).await?,
        Router::new().route_service("/mcp", service),
    );
    let probes = axum::serve(
        TcpListener::bind(probes).await?,
        Router::new().fallback(any(|| async { "ok" })),
    );
    tokio::try_join!(mcp.into_future(), probes.into_future())?;
    Ok(())
}

struct FixtureServer;

impl ServerHandler for FixtureServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = TOOLS.map(|name| {
            let schema = serde_json::Map::from_iter([("type".to_owned(), "object".into())]);
            Tool::new(name, "A fixture of the conformance suite.", Arc::new(schema))
        });
        Ok(ListToolsResult::with_all_items(tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = |text: &str| vec![ContentBlock::text(text)];
        let result = match &*request.name {
            SIMPLE_TEXT => CallToolResult::success(text("This is a simple text response for testing.")),
            ERROR_HANDLING => {
                CallToolResult::error(text("This tool intentionally returns an error for testing"))
            }
            WITH_PROGRESS => {
                report_progress(&context).await?;
                CallToolResult::success(text("The tool ran to its end."))
            }
            _ => return Err(ErrorData::invalid_params("there is no such tool", None)),
        };
        Ok(result.into())
    }
}

/// Sends three progress notifications up to 100, if the client sent a progress token.
async fn report_progress(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let token = context.meta.get_progress_token();
    for progress in [0.0, 50.0, 100.0] {
        if let Some(token) = token.clone() {
            let notification = ProgressNotificationParam::new(token, progress).with_total(100.0);
            let sent = context.peer.notify_progress(notification).await;
            sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}
