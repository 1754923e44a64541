//! Parses the body of a POST, which is one JSON-RPC message, as far as the proxy needs.

use axum::body::Bytes;
use behalf_contract::mcp::TOOLS_CALL;
use behalf_contract::{RequestId, json};
use behalf_entra::Secret;
use behalf_runtime::trace::TraceContext;
use serde_json::value::RawValue;

use super::body_error::BodyError;
use super::members::{self, Members, is_object};
use super::token_argument::{ArgumentsPosition, Edited, offset, position_of};

/// Maximum size of a message in bytes. It is the default of rmcp, too.
pub(super) const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A message, with the members that the proxy's decisions depend on.
#[derive(Debug, Clone)]
pub(super) struct Message {
    body: Bytes,
    /// Absent in notifications.
    id: Option<RequestId>,
    method: Option<String>,
    /// `params.name` or `params.uri`, which `Mcp-Name` mirrors.
    name: Option<String>,
    /// `io.modelcontextprotocol/protocolVersion` of `params._meta`.
    protocol_version: Option<String>,
    /// `traceparent` of `params._meta`.
    trace: Option<TraceContext>,
    position: ArgumentsPosition,
}

impl Message {
    /// Parses `body`.
    pub(super) fn parse(body: Bytes) -> Result<Self, BodyError> {
        let text = std::str::from_utf8(&body).map_err(|_| BodyError::NotJson)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| BodyError::NotJson)?;
        if raw.get().starts_with('[') {
            return Err(BodyError::Batch);
        }
        if json::has_reserved_key(text) {
            return Err(BodyError::ReservedKey);
        }
        let message = members::of(raw).ok_or(BodyError::NotAnObject)?;
        let [id, method, params, _] = pick(&message, ["id", "method", "params", "jsonrpc"], true)?;

        let id = id
            .map(|id| serde_json::from_str(id.get()).map_err(|_| BodyError::Id))
            .transpose()?;
        let method: Option<String> = match method {
            Some(method) => Some(string(method).ok_or(BodyError::NotAnObject)?),
            None => None,
        };
        let is_tool_call = method.as_deref() == Some(TOOLS_CALL);
        let mut read = Self {
            body: Bytes::new(),
            id,
            method,
            name: None,
            protocol_version: None,
            trace: None,
            position: ArgumentsPosition::None,
        };
        let behind = |raw: &RawValue| offset(text, raw) + 1;
        match params {
            Some(params) if is_object(params) => {
                let fields = members::of(params).ok_or(BodyError::Params)?;
                let wanted = ["name", "uri", "_meta", "arguments"];
                let [name, uri, meta, arguments] = pick(&fields, wanted, is_tool_call)?;
                // The server reads a tool's name only from `name`, so the scope check does as well.
                let named = if is_tool_call { name } else { name.or(uri) };
                read.name = named.map(text_of).transpose()?;
                if let Some(meta) = meta.filter(|meta| is_object(meta)) {
                    let fields = members::of(meta).ok_or(BodyError::Params)?;
                    read.protocol_version = protocol_version(&fields)?;
                    read.trace = trace(&fields);
                }
                if is_tool_call {
                    read.position = match arguments {
                        Some(arguments) if is_object(arguments) || arguments.get() == "null" => {
                            position_of(text, arguments)?
                        }
                        Some(_) => return Err(BodyError::Params),
                        None => ArgumentsPosition::NoArguments {
                            behind_brace: behind(params),
                            has_members: !fields.0.is_empty(),
                        },
                    };
                }
            }
            Some(_) if is_tool_call => return Err(BodyError::Params),
            None if is_tool_call => read.position = ArgumentsPosition::NoParams(behind(raw)),
            _ => {}
        }
        read.body = body;
        Ok(read)
    }

    /// Size of the body in bytes.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// The request's id, for a response that the proxy writes itself. Absent in notifications.
    pub(super) fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The method. Absent in a client's response to a request of the server.
    pub(super) fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// The required value of `Mcp-Name`.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The MCP revision in the body. Only MCP 2026-07-28 and later have one.
    pub(super) fn protocol_version(&self) -> Option<&str> {
        self.protocol_version.as_deref()
    }

    /// The trace context in the body (MCP 2026-07-28). An invalid one counts as absent.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// True for a `tools/call`.
    pub(super) fn is_tool_call(&self) -> bool {
        !matches!(self.position, ArgumentsPosition::None)
    }

    /// Returns the body for the server. The arguments of a tool call contain `token` if there is one.
    pub(super) fn edit(&self, token: Option<&Secret>) -> Edited {
        self.position.edit(self.body.clone(), token)
    }
}

/// Returns the members with these names. Refuses a repeated name. With `strictly` it also refuses a name in another
/// case.
fn pick<'a, const N: usize>(
    members: &Members<'a>,
    names: [&str; N],
    strictly: bool,
) -> Result<[Option<&'a RawValue>; N], BodyError> {
    let mut picked = [None; N];
    for (key, value) in &members.0 {
        for (name, place) in names.into_iter().zip(&mut picked) {
            let is_wanted = key == name || strictly && members::is_same(key, name);
            if is_wanted && (key != name || place.replace(*value).is_some()) {
                return Err(BodyError::Ambiguous);
            }
        }
    }
    Ok(picked)
}

fn protocol_version(meta: &Members<'_>) -> Result<Option<String>, BodyError> {
    let [version] = pick(meta, ["io.modelcontextprotocol/protocolVersion"], false)?;
    version.map(text_of).transpose()
}

/// Reads `traceparent`. Nothing is decided by it, so a repeated or malformed one is not refused.
fn trace(meta: &Members<'_>) -> Option<TraceContext> {
    let [traceparent] = pick(meta, ["traceparent"], false).ok()?;
    TraceContext::parse(&string(traceparent?)?)
}

fn text_of(raw: &RawValue) -> Result<String, BodyError> {
    string(raw).ok_or(BodyError::Params)
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[rstest]
    #[case("", BodyError::NotJson)]
    #[case("{", BodyError::NotJson)]
    #[case("{} {}", BodyError::NotJson)]
    #[case("\u{feff}{}", BodyError::NotJson)]
    #[case(
        r#"{"method":"tools/call","params":{"arguments":{"a":}}}"#,
        BodyError::NotJson
    )]
    #[case(r#"[{"method":"ping"}]"#, BodyError::Batch)]
    #[case(" [ ]", BodyError::Batch)]
    #[case("7", BodyError::NotAnObject)]
    #[case(r#"{"method":7}"#, BodyError::NotAnObject)]
    #[case(r#"{"method":"ping","method":"tools/call"}"#, BodyError::Ambiguous)]
    #[case(r#"{"method":"ping","Method":"tools/call"}"#, BodyError::Ambiguous)]
    #[case(r#"{"m\u0065thod":"ping","method":"tools/call"}"#, BodyError::Ambiguous)]
    #[case(r#"{"method":"tools/call","params":{},"params":{}}"#, BodyError::Ambiguous)]
    #[case(
        r#"{"method":"tools/call","params":{"arguments":{},"arguments":{}}}"#,
        BodyError::Ambiguous
    )]
    #[case(
        r#"{"method":"tools/call","params":{"arguments":{},"Arguments":{}}}"#,
        BodyError::Ambiguous
    )]
    #[case(r#"{"method":"tools/call","params":[]}"#, BodyError::Params)]
    #[case(r#"{"method":"tools/call","params":null}"#, BodyError::Params)]
    #[case(r#"{"method":"tools/call","params":{"arguments":"x"}}"#, BodyError::Params)]
    #[case(
        r#"{"method":"tools/call","params":{"arguments":[{"bearerToken":1}]}}"#,
        BodyError::Params
    )]
    // Half of a surrogate pair is not Unicode. A key that cannot be decoded cannot be checked.
    #[case(
        r#"{"method":"tools/call","params":{"arguments":{"\ud800":1,"bearerToken":"x"}}}"#,
        BodyError::Params
    )]
    #[case(
        r#"{"method":"tools/call","params":{"arguments":{"bearerToken":"x","\udc00":1}}}"#,
        BodyError::Params
    )]
    #[case(
        r#"{"method":"tools/call","params":{"\udc00":1,"arguments":{"bearerToken":"x"}}}"#,
        BodyError::Params
    )]
    #[case(
        r#"{"method":"resources/read","params":{"\ud800":1,"uri":"x"}}"#,
        BodyError::Params
    )]
    #[case(r#"{"method":"tools/call","params":{"name":"\ud800"}}"#, BodyError::Params)]
    #[case(r#"{"method":"resources/read","params":{"uri":"\udc00"}}"#, BodyError::Params)]
    #[case(r#"{"method":"prompts/get","params":{"name":7}}"#, BodyError::Params)]
    #[case(r#"{"method":"ping","params":{"_meta":{"\ud800":1}}}"#, BodyError::Params)]
    #[case(
        r#"{"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"\ud800"}}}"#,
        BodyError::Params
    )]
    #[case(r#"{"\ud800":1,"method":"tools/call"}"#, BodyError::NotAnObject)]
    #[case(
        r#"{"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        BodyError::Ambiguous
    )]
    #[case(r#"{"method":"ping","id":null}"#, BodyError::Id)]
    #[case(r#"{"method":"ping","id":1.5}"#, BodyError::Id)]
    #[case(r#"{"method":"ping","id":{}}"#, BodyError::Id)]
    #[case(
        r#"{"method":"ping","id":1,"x":[{"$serde_json::private::RawValue":"1"}]}"#,
        BodyError::ReservedKey
    )]
    fn refuses_bodies_that_parsers_may_read_differently(#[case] text: &str, #[case] expected: BodyError) {
        assert_eq!(
            Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap_err(),
            expected
        );
    }

    #[rstest]
    #[case(1024, None)]
    #[case(1025, Some(BodyError::Params))]
    fn arguments_have_at_most_1024_members(#[case] count: usize, #[case] expected: Option<BodyError>) {
        let members: Vec<_> = (0..count).map(|n| format!("\"a{n}\":0")).collect();
        let text = format!(
            r#"{{"method":"tools/call","params":{{"arguments":{{{}}}}}}}"#,
            members.join(",")
        );
        assert_eq!(Message::parse(text.into()).err(), expected);
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let body = Bytes::from_static(b"{\"method\":\"ping\",\"x\":\"\xff\"}");
        assert_eq!(Message::parse(body).unwrap_err(), BodyError::NotJson);
    }

    #[rstest]
    #[case(r#""00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#, true)]
    #[case(
        r#""00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","traceparent":"00""#,
        false
    )]
    #[case(r#""ana@contoso.example""#, false)]
    #[case("7", false)]
    fn an_unusable_trace_context_is_ignored(#[case] value: &str, #[case] expected: bool) {
        let text = format!(r#"{{"method":"tools/list","params":{{"_meta":{{"traceparent":{value}}}}}}}"#);
        assert_eq!(message(&text).trace().is_some(), expected);
    }

    #[test]
    fn reads_the_members_that_headers_mirror() {
        let call = message(
            r#"{"id":"a","method":"tools/call","params":{"name":"run","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        assert_eq!(
            (call.id(), call.name()),
            (Some(&RequestId::Text("a".to_owned())), Some("run"))
        );
        assert_eq!(call.protocol_version(), Some("2026-07-28"));
        let read = message(r#"{"id":2,"method":"resources/read","params":{"uri":"file:///a"}}"#);
        assert_eq!(read.name(), Some("file:///a"));
        let no_name = message(r#"{"method":"tools/call","params":{"uri":"run"}}"#);
        assert_eq!(no_name.name(), None, "a tool is named by name alone");
        let notification = message(r#"{"method":"notifications/initialized"}"#);
        assert_eq!(notification.id(), None);
    }
}
