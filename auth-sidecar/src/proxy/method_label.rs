//! The label of a request in metrics and logs.

use axum::http::Method;
use behalf_contract::mcp;

use super::body::Message;

/// Returns the method as the label of a metric. The label is one of a fixed list, because clients choose the text.
pub(super) fn label(method: &Method, message: Option<&Message>) -> &'static str {
    const KNOWN: [&str; 18] = [
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "subscriptions/listen",
        mcp::TOOLS_CALL,
        "tools/list",
    ];
    match message {
        None if method == Method::DELETE => "DELETE",
        None => "GET",
        Some(message) => {
            let name = message.method().unwrap_or_default();
            KNOWN.into_iter().find(|known| *known == name).unwrap_or("other")
        }
    }
}
