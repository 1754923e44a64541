//! The protocol revision of a request.

use axum::http::{HeaderMap, HeaderName};
use behalf_contract::mcp;

/// The header that names the revision.
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(mcp::PROTOCOL_VERSION_HEADER);

/// True when the request is of a protocol revision without handshake and sessions.
pub(super) fn is_stateless(client: &HeaderMap) -> bool {
    client
        .get(PROTOCOL_VERSION)
        .is_some_and(|version| mcp::is_stateless(version.as_bytes()))
}
