//! Methods that the MCP library passes on: unknown ones, and known ones with parameters that it cannot read.

use behalf_contract::mcp;
use rmcp::model::{CustomRequest, ErrorCode, ProtocolVersion};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};

/// The methods of requests that this server answers.
const METHODS: [&str; 5] = [
    "initialize",
    "ping",
    "server/discover",
    mcp::TOOLS_CALL,
    "tools/list",
];

/// The methods that revision 2026-07-28 removed. In that revision they are unknown, with any parameters.
const REMOVED_METHODS: [&str; 2] = ["initialize", "ping"];

/// Returns true if a request is of revision 2026-07-28, by its header or by its `_meta`. The header is needed
/// because rmcp does not read the `_meta` of a request whose parameters it cannot read.
fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    let modern = ProtocolVersion::V_2026_07_28;
    let header = context
        .extensions
        .get::<http::request::Parts>()
        .and_then(|parts| parts.headers.get(mcp::PROTOCOL_VERSION_HEADER));
    header.is_some_and(|header| header == modern.as_str()) || context.meta.protocol_version() == Some(modern)
}

/// Returns the error for `request`.
pub(super) fn refuse(request: &CustomRequest, context: &RequestContext<RoleServer>) -> ErrorData {
    let method = request.method.as_str();
    let is_removed = is_modern(context) && REMOVED_METHODS.contains(&method);
    if METHODS.contains(&method) && !is_removed {
        ErrorData::invalid_params("params do not have the shape that this method requires", None)
    } else {
        // The name is not repeated: the client chose it, and it may be 100 KB long.
        ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "method not found", None)
    }
}
