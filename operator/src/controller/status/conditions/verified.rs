//! Computes `Verified`: whether the MCP server answers a handshake.

use behalf_contract::Reason;

use super::current_reports::{CurrentReports, PodResult, StatusAndReason};
use super::{ConditionType, ConditionValue, Status};
use crate::api::v1alpha1::ServerInfo;

/// Computes the condition.
pub(in crate::controller::status) fn condition(current: &CurrentReports<'_>) -> ConditionValue {
    let results = current.documents.iter().map(|document| PodResult {
        outcome: document.handshake.outcome,
        reason: &document.handshake.reason,
        // A server that is still starting has not shown whether it works.
        conclusive: document.handshake.observed_at.is_some()
            && document.handshake.reason != Reason::ServerStarting.as_str(),
    });
    let result = current.status_and_reason(ConditionType::Verified, Reason::HandshakeSucceeded, results);
    let message = text(&result);
    result.with_text(match stateful_pods(current) {
        Some(replicas) if result.status == Status::True => format!(
            "{message}; it keeps MCP sessions, each in one of {replicas} Pods: let the gateway choose the Pod by the header \
             Authorization, or set spec.replicas to 1 (docs/proxy.md)"
        ),
        _ => message,
    })
}

/// Returns the number of Pods if the server keeps MCP sessions and there is more than one. A client then loses its session
/// whenever a request reaches another Pod. Whether the gateway prevents that cannot be observed.
fn stateful_pods(current: &CurrentReports<'_>) -> Option<i32> {
    let replicas = current.replicas.filter(|&replicas| replicas > 1)?;
    let is_stateful = current
        .documents
        .iter()
        .any(|document| document.handshake.is_stateful);
    is_stateful.then_some(replicas)
}

/// Returns name, version and number of tools of the server, from the first Pod that reports a handshake.
pub(in crate::controller::status) fn server_info(current: &CurrentReports<'_>) -> Option<ServerInfo> {
    current.documents.iter().find_map(|document| {
        let info = document.handshake.server_info.as_ref()?;
        Some(ServerInfo {
            name: cut(&info.name, 256),
            version: cut(&info.version, 256),
            protocol_version: cut(&info.protocol_version, 64),
            tools: i32::try_from(info.tools).unwrap_or(i32::MAX),
        })
    })
}

/// Returns the text of `Verified`.
fn text(result: &StatusAndReason<'_>) -> String {
    result.common_text().unwrap_or_else(|| {
        let text = match result.reason {
            Reason::HandshakeSucceeded => "the MCP server answered a handshake and listed its tools",
            Reason::ServerStarting => "the MCP server does not listen yet; the sidecar tries again in a moment",
            Reason::ServerUnreachable => {
                "the MCP server does not listen on its port; read the log of container mcp-server"
            }
            Reason::ServerTimedOut => {
                "the MCP server did not finish a handshake in time; read the log of container mcp-server and check \
                 its resource limits"
            }
            Reason::AuthRequired => {
                "the MCP server requires a user's token for the handshake; if that is intended, nothing is wrong, and the \
                 first user's call verifies it"
            }
            Reason::UserAnswered => {
                "the MCP server requires a user's token for the handshake, and has answered a user"
            }
            Reason::ServerError => {
                "the MCP server answered the handshake with an error; read the log of container mcp-server"
            }
            Reason::NotMcp => {
                "the answer to the handshake is not MCP; the server must serve MCP over Streamable HTTP"
            }
            _ => {
                "this version of the operator does not know the reason that the sidecar reports for the handshake; read \
                 the log of container auth-sidecar"
            }
        };
        text.to_owned()
    })
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
