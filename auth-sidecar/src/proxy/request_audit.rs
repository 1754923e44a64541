//! The audit line of a request to `/mcp`.

use std::net::IpAddr;

use axum::http::StatusCode;
use behalf_runtime::trace::TraceId;
use tokio::time::Instant;

use crate::sessions::OpenSession;
use crate::telemetry::audit::{Action, Event};

/// Collects what the audit line of one request contains. Writes a line for each tool call, and for each other request of a
/// signed-in user that the sidecar refuses. Requests without a live session have no line: anybody can send them, and a
/// flood would fill the disk.
pub(super) struct RequestAudit {
    began: Instant,
    address: Option<IpAddr>,
    /// Present once the session is known, until the line is written.
    event: Option<Event>,
    is_tool_call: bool,
}

impl RequestAudit {
    /// A request that has just arrived from this address.
    pub(super) fn begin(address: Option<IpAddr>) -> Self {
        Self {
            began: Instant::now(),
            address,
            event: None,
            is_tool_call: false,
        }
    }

    /// The request belongs to this session and trace.
    pub(super) fn authenticated(&mut self, session: &OpenSession, trace: Option<TraceId>) {
        let event = Event::of(Action::RequestRefusal)
            .user(&session.user)
            .client(&session.client_id)
            .session(&session.id)
            .address(self.address)
            .trace(trace);
        self.event = Some(event);
    }

    /// The message of the request belongs to this trace.
    pub(super) fn trace(&mut self, trace: TraceId) {
        self.event = self.event.take().map(|event| event.trace(Some(trace)));
    }

    /// The request calls this tool.
    pub(super) fn tool_call(&mut self, name: &str) {
        self.is_tool_call = true;
        self.event = self
            .event
            .take()
            .map(|event| event.action(Action::ToolCall).tool(name));
    }

    /// The answer of the server begins.
    pub(super) fn answered(&mut self, status: StatusCode) {
        let Some(event) = self.event.take().filter(|_| self.is_tool_call) else {
            return;
        };
        let event = event.status(status).took(self.began.elapsed());
        if status.is_success() {
            event.succeeded();
        } else {
            event.failed("server_error");
        }
    }

    /// The sidecar refuses the request, or does not pass on the server's answer.
    pub(super) fn refused(&mut self, reason: &'static str, status: StatusCode) {
        if let Some(event) = self.event.take() {
            event.status(status).took(self.began.elapsed()).failed(reason);
        }
    }
}

/// A client that disconnects drops its request. The tool may have run.
impl Drop for RequestAudit {
    fn drop(&mut self) {
        if let Some(event) = self.event.take().filter(|_| self.is_tool_call) {
            event.took(self.began.elapsed()).unknown("client_disconnected");
        }
    }
}
