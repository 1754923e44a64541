//! The audit line of a request to `/mcp`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use behalf_runtime::trace::TraceId;

use crate::sessions::OpenSession;
use crate::telemetry::audit::{self, Action, Event};
use crate::telemetry::request_cause::{self, RequestCause};

/// Collects what the audit line of one request contains. Writes a line for each tool call, and for each other request of a
/// signed-in user that the sidecar refuses. Requests without a live session have no line: anybody can send them, and a
/// flood would fill the disk.
pub(super) struct RequestAudit {
    request: RequestCause,
    address: Option<IpAddr>,
    /// Present once the session is known, until the line is written.
    session: Option<Arc<OpenSession>>,
    /// The tool that the request calls, as the log shows it: a client may choose a name of megabytes.
    tool: Option<String>,
}

impl RequestAudit {
    /// A request from this address.
    pub(super) fn begin(request: RequestCause, address: Option<IpAddr>) -> Self {
        Self {
            request,
            address,
            session: None,
            tool: None,
        }
    }

    /// The request belongs to this session.
    pub(super) fn authenticated(&mut self, session: &Arc<OpenSession>) {
        self.session = Some(Arc::clone(session));
    }

    /// The message of the request belongs to this trace. Lines of other events that the request causes have it, too.
    pub(super) fn trace(&mut self, trace: TraceId) {
        self.request.trace = Some(trace);
        request_cause::set_trace(trace);
    }

    /// The request calls this tool.
    pub(super) fn tool_call(&mut self, name: &str) {
        self.tool = Some(audit::name(name).into_owned());
    }

    /// The answer of the server begins.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.write_tool_call(|event| {
            let event = event.status(status);
            if status.is_success() {
                event.succeeded();
            } else {
                event.failed("server_error");
            }
        });
    }

    /// The sidecar refuses the request, or does not pass on the server's answer.
    pub(super) fn refused(&mut self, reason: &'static str, status: StatusCode) {
        self.write(|event| event.status(status).failed(reason));
    }

    fn write_tool_call(&mut self, write: impl FnOnce(Event<'_>)) {
        if self.tool.is_some() {
            self.write(write);
        }
    }

    /// Writes the line if the session is known and no line was written before.
    fn write(&mut self, write: impl FnOnce(Event<'_>)) {
        let Some(session) = self.session.take() else {
            return;
        };
        let event = match &self.tool {
            Some(tool) => Event::of(Action::ToolCall).tool(tool),
            None => Event::of(Action::RequestRefusal),
        };
        let event = event
            .user(&session.user)
            .client(session.client_label())
            .session(&session.id)
            .address(self.address)
            .caused_by(self.request);
        write(event);
    }
}

/// A client that disconnects drops its request. The tool may have run.
impl Drop for RequestAudit {
    fn drop(&mut self) {
        self.write_tool_call(|event| event.unknown("client_disconnected"));
    }
}
