//! The audit log: one line for each event that concerns a user, a client or a session. `docs/audit.md` lists the lines.
//!
//! No method accepts a token, a code, an argument of a tool or a mail address. The texts of clients (names of clients and
//! tools) are bounded, and without control characters.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::StatusCode;
use behalf_entra::{EntraError, UserIdentity};
use behalf_runtime::AUDIT_TARGET;

use super::request_cause::{self, RequestCause};
use crate::client_label::registered_label;
use crate::session_id::SessionId;

/// Maximum length of a name that a client chose, in characters. Names of tools have at most 64 in known clients.
const MAX_NAME: usize = 64;

/// Maximum length of the id of a client that did not register itself, in characters. The address of a metadata document
/// is such an id.
const MAX_CLIENT_ID: usize = 256;

/// The kind of an event: the field `event.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A client registered itself (RFC 7591).
    ClientRegistration,
    /// A person approved or denied a client on the consent page. Nobody is signed in there.
    Consent,
    /// Entra signed a user in, or refused to.
    Login,
    /// A client redeemed the code of a login, so that the session can be used.
    SessionStart,
    /// A client got new tokens for its refresh token.
    TokenRefresh,
    /// Entra refuses the user of a session for now. The session stays, and its calls are refused.
    SessionBlock,
    /// A session ended before its time.
    SessionEnd,
    /// A tool was called, or the sidecar refused the call of a signed-in user.
    ToolCall,
    /// The sidecar refused another request of a signed-in user.
    RequestRefusal,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::ClientRegistration => "client_registration",
            Self::Consent => "consent",
            Self::Login => "login",
            Self::SessionStart => "session_start",
            Self::TokenRefresh => "token_refresh",
            Self::SessionBlock => "session_block",
            Self::SessionEnd => "session_end",
            Self::ToolCall => "tool_call",
            Self::RequestRefusal => "request_refusal",
        }
    }
}

/// An event of the audit log. [`Event::succeeded`], [`Event::failed`] and [`Event::unknown`] write its line.
#[derive(Clone, Debug)]
#[must_use = "an event is in the log only after it was written"]
pub(crate) struct Event<'a> {
    action: Action,
    user: Option<Cow<'a, str>>,
    client_id: Option<Cow<'a, str>>,
    client_name: Option<Cow<'a, str>>,
    session: Option<SessionId>,
    tool: Option<Cow<'a, str>>,
    reason: Option<&'static str>,
    status: Option<u16>,
    cause: Option<RequestCause>,
    address: Option<IpAddr>,
    correlation_id: Option<&'a str>,
    error_code: Option<u32>,
}

impl<'a> Event<'a> {
    /// An event that the request of this task causes, if it has one. Nothing else is known of it.
    pub(crate) fn of(action: Action) -> Self {
        Self {
            action,
            user: None,
            client_id: None,
            client_name: None,
            session: None,
            tool: None,
            reason: None,
            status: None,
            cause: request_cause::current(),
            address: None,
            correlation_id: None,
            error_code: None,
        }
    }

    /// The user: the object id in Entra.
    pub(crate) fn user(self, user: &'a UserIdentity) -> Self {
        self.user_id(&user.oid)
    }

    /// As [`Event::user`], with the object id alone.
    pub(crate) fn user_id(mut self, object_id: &'a str) -> Self {
        self.user = Some(bounded(object_id, MAX_NAME));
        self
    }

    /// The client. The id of a client that registered itself is its whole registration and works at the token endpoint,
    /// so that its digest stands for it.
    pub(crate) fn client(mut self, client_id: &'a str) -> Self {
        self.client_id = Some(client_label(client_id));
        self
    }

    /// The client of a session that is known by its summary only. `None` if the id is long.
    pub(crate) fn client_label(mut self, label: Option<&'a str>) -> Self {
        self.client_id = label.map(client_label);
        self
    }

    /// The name that the client chose. It proves nothing.
    pub(crate) fn client_name(mut self, name: Option<&'a str>) -> Self {
        self.client_name = name.map(|name| bounded(name, MAX_NAME));
        self
    }

    /// Adds the id of the session.
    pub(crate) fn session(mut self, id: &SessionId) -> Self {
        self.session = Some(*id);
        self
    }

    /// The tool, as the client named it.
    pub(crate) fn tool(mut self, name: &'a str) -> Self {
        self.tool = Some(self::name(name));
        self
    }

    /// The cause of a successful event.
    pub(crate) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The HTTP status of the answer.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self
    }

    /// The request that causes the event, of a task that has ended.
    pub(crate) fn caused_by(mut self, cause: RequestCause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The address of the client, if a trusted proxy reports it.
    pub(crate) fn address(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// The ids under which Entra's sign-in log has its refusal.
    pub(crate) fn refusal_of_entra(mut self, error: &'a EntraError) -> Self {
        if let EntraError::Refused(refusal) = error {
            self.correlation_id = refusal.correlation_id.as_deref();
            self.error_code = refusal.codes.first().copied();
        }
        self
    }

    /// Writes the line of an event that happened.
    pub(crate) fn succeeded(self) {
        self.write("success");
    }

    /// Writes the line of an event that was refused or failed. `reason` is one of a fixed list.
    pub(crate) fn failed(self, reason: &'static str) {
        self.because(reason).write("failure");
    }

    /// Writes the line of an event whose end the sidecar did not see.
    pub(crate) fn unknown(self, reason: &'static str) {
        self.because(reason).write("unknown");
    }

    fn write(self, outcome: &'static str) {
        let action = self.action.as_str();
        tracing::event!(
            target: AUDIT_TARGET,
            tracing::Level::INFO,
            event.action = action,
            event.outcome = outcome,
            event.reason = self.reason,
            event.duration_ms = self.cause.map(|cause| milliseconds(cause.began.elapsed())),
            user.id = self.user.as_deref(),
            client.id = self.client_id.as_deref(),
            client.name = self.client_name.as_deref(),
            client.address = self.address.map(tracing::field::display),
            session.id = self.session.map(tracing::field::display),
            mcp.tool = self.tool.as_deref(),
            http.response.status_code = self.status,
            entra.correlation_id = self.correlation_id,
            entra.error_code = self.error_code,
            trace.id = self
                .cause
                .and_then(|cause| cause.trace)
                .map(tracing::field::display),
            "{action}: {outcome}"
        );
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the id of a client as the audit log shows it. It is stable, and opens nothing.
fn client_label(client_id: &str) -> Cow<'_, str> {
    registered_label(client_id).map_or_else(|| bounded(client_id, MAX_CLIENT_ID), Cow::Owned)
}

/// Returns the name of a tool as it is shown.
pub(crate) fn name(tool: &str) -> Cow<'_, str> {
    bounded(tool, MAX_NAME)
}

/// Returns the beginning of a text, with `?` for each control character and each character that changes the direction of
/// text: a viewer of the log must see what is there.
fn bounded(text: &str, longest: usize) -> Cow<'_, str> {
    // Nearly every text is like this.
    if text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let visible = |character: char| match character {
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}' => '?',
        character if character.is_control() => '?',
        character => character,
    };
    text.chars().take(longest).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn other_client_ids_stay_readable() {
        assert_eq!(client_label("ci"), "ci");
        let document = "https://client.example/metadata.json";
        assert_eq!(client_label(document), document);
    }

    #[rstest]
    #[case("run", "run")]
    #[case("a\nb\u{1b}[31m\u{202e}c", "a?b?[31m?c")]
    #[case("a\u{61c}b\u{2060}c\u{e0041}", "a?b?c?")]
    #[case(&"\u{e9}".repeat(100), &"\u{e9}".repeat(64))]
    fn names_are_bounded_and_visible(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(bounded(name, MAX_NAME), expected);
    }
}
