//! Selects the headers that the proxy forwards. The lists name the known and needed headers, because a list of
//! dangerous ones would never be complete: servers may trust a header such as `X-Forwarded-User`, and browsers apply
//! every header of the origin that also serves the consent page.

use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use behalf_contract::headers::RESERVED_PREFIX;
use behalf_contract::mcp;
use behalf_entra::Secret;
use behalf_runtime::has_media_type;

use super::body::Message;
use super::protocol_version::PROTOCOL_VERSION;
use super::server_session::{SESSION_ID, ServerSession};

const METHOD: HeaderName = HeaderName::from_static(mcp::METHOD_HEADER);
const NAME: HeaderName = HeaderName::from_static(mcp::NAME_HEADER);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Prefix of MCP's headers: `Mcp-Method`, `Mcp-Name`, `Mcp-Param-*` and those of later revisions. Intermediaries
/// must forward all of them.
const MCP_PREFIX: &str = "mcp-";

/// Request headers that pass beside the headers of MCP: W3C Trace Context and Baggage, and the headers that
/// name the client. `Accept` and `Content-Type` do not pass, because the proxy sets them to
/// [`JSON_AND_EVENT_STREAM`] and [`JSON`]. `Last-Event-ID` passes only within a session of the server, whose events it
/// names ([`to_server`]).
const TO_SERVER: [HeaderName; 5] = [
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// The `Content-Type` of every message to the server. With a client's parameters (`charset=utf-7`) or a second
/// `Content-Type` the server could read another message than the proxy checked.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The `Accept` of every request to the server. Every MCP client accepts both types. Servers require both names:
/// rmcp answers `*/*` with 406.
const JSON_AND_EVENT_STREAM: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

const TO_CLIENT: [HeaderName; 6] = [
    ALLOW,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    RETRY_AFTER,
    X_ACCEL_BUFFERING,
];

/// Returns the client's headers that the server gets, with an `Accept` of our own, and with the server's own id of the
/// session that the request belongs to.
pub(super) fn to_server(client: &HeaderMap, session: &ServerSession) -> HeaderMap {
    let mut headers = selected(client, &TO_SERVER, 12);
    headers.insert(ACCEPT, JSON_AND_EVENT_STREAM);
    if let ServerSession::Known(id) = session {
        headers.insert(SESSION_ID, id.clone());
        if let Some(event) = client.get(LAST_EVENT_ID) {
            headers.insert(LAST_EVENT_ID, event.clone());
        }
    }
    headers
}

/// Returns the server's headers that the client gets.
pub(super) fn to_client(server: &HeaderMap) -> HeaderMap {
    let mut headers = selected(server, &TO_CLIENT, 6);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_event_stream(&headers) {
        // A gateway that buffers would delay the events.
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    // The answer belongs to one user, and all users share the URL. The server cannot let a gateway store it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// Copies the headers in `known` and the headers of MCP. `Mcp-Session-Id` is not copied in either direction: the server's
/// id reaches clients only sealed ([`super::server_session`]). `usual` is the number of headers that the result usually has in the
/// end.
fn selected(from: &HeaderMap, known: &[HeaderName], usual: usize) -> HeaderMap {
    let hop: Vec<&str> = from
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let mut to = HeaderMap::with_capacity(usual);
    for (name, value) in from {
        let passes = known.contains(name) || is_mcp(name);
        // A proxy must remove the headers that `Connection` names (RFC 9110, section 7.6.1).
        if passes && !hop.iter().any(|hop| hop.eq_ignore_ascii_case(name.as_str())) {
            to.append(name.clone(), value.clone());
        }
    }
    to
}

/// True for a header of MCP that is forwarded. MCP's names have no underscore. CGI servers read an underscore as a
/// hyphen, so that `Mcp-Session_Id` would be the session id.
fn is_mcp(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with(MCP_PREFIX) && !text.contains('_') && name != SESSION_ID
}

/// True when a client sent a header that is reserved for the connection from sidecar to server.
pub(super) fn has_reserved(client: &HeaderMap) -> bool {
    client
        .keys()
        .any(|name| name.as_str().starts_with(RESERVED_PREFIX))
}

/// True when the media type is `text/event-stream`.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    has_media_type(headers, "text/event-stream")
}

/// Returns the value of `Authorization: Bearer`, which `Debug` does not show. Returns `None` if the token contains
/// characters that a header must not have.
pub(super) fn bearer(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the bearer token of a request (RFC 6750, section 2.1). A query parameter does not count: OAuth 2.1
/// forbids it, because URLs are logged.
pub(super) fn presented_token(client: &HeaderMap) -> Option<Secret> {
    let mut values = client.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

/// True when the headers that mirror the body agree with it. MCP 2026-07-28 requires this check of every party that
/// reads the body. An absent header is left to the server, because older revisions have none.
pub(super) fn agree(client: &HeaderMap, message: &Message) -> bool {
    mirrors(client, &METHOD, message.method(), false)
        && mirrors(client, &NAME, message.name(), true)
        && mirrors(client, &PROTOCOL_VERSION, message.protocol_version(), false)
}

fn mirrors(client: &HeaderMap, name: &HeaderName, body: Option<&str>, encoded: bool) -> bool {
    let mut values = client.get_all(name).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    let Some(body) = body else {
        // `Mcp-Name` and the version may accompany messages whose body has neither.
        return true;
    };
    let Ok(text) = value.to_str() else { return false };
    match text
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
    {
        Some(inner) if encoded => BASE64
            .decode(inner)
            .is_ok_and(|decoded| decoded == body.as_bytes()),
        _ => text == body,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_server_gets_the_headers_of_mcp_and_tracing() {
        let kept = [
            "accept-language",
            "mcp-method",
            "mcp-name",
            "mcp-param-region",
            "mcp-protocol-version",
            "traceparent",
            "tracestate",
        ];
        let mut map = to_server(&headers(&kept.map(|name| (name, "x"))), &ServerSession::New);
        map.remove(ACCEPT);
        assert_eq!(names(&map), kept);
    }

    #[rstest]
    #[case("authorization")]
    #[case("proxy-authorization")]
    #[case("cookie")]
    #[case("x-behalf-host-key")]
    #[case("x-behalf-anything")]
    #[case("forwarded")]
    #[case("x-forwarded-for")]
    #[case("x-forwarded-user")]
    #[case("x-forwarded-access-token")]
    #[case("x-ms-client-principal")]
    #[case("x-real-ip")]
    #[case("host")]
    #[case("origin")]
    #[case("connection")]
    #[case("keep-alive")]
    #[case("te")]
    #[case("transfer-encoding")]
    #[case("upgrade")]
    #[case("content-length")]
    #[case("content-encoding")]
    #[case("mcp-session-id")]
    #[case("mcp-session_id")]
    #[case("mcp-param_region")]
    #[case("last-event-id")]
    #[case("content-type")]
    fn the_server_never_gets(#[case] name: &'static str) {
        let map = to_server(&headers(&[(name, "x")]), &ServerSession::New);
        assert_eq!(names(&map), ["accept"]);
    }

    #[rstest]
    #[case(None)]
    #[case(Some("*/*"))]
    #[case(Some("application/json"))]
    #[case(Some("text/plain"))]
    fn the_server_may_always_answer_in_json_or_with_a_stream(#[case] accept: Option<&str>) {
        let client: Vec<_> = accept.map(|value| ("accept", value)).into_iter().collect();
        let map = to_server(&headers(&client), &ServerSession::New);
        let values: Vec<_> = map.get_all(ACCEPT).iter().collect();
        assert_eq!(values, ["application/json, text/event-stream"]);
    }

    #[test]
    fn headers_that_connection_names_are_not_forwarded() {
        let client = headers(&[
            ("connection", "close, Mcp-Method"),
            ("mcp-method", "x"),
            ("mcp-name", "y"),
        ]);
        let map = to_server(&client, &ServerSession::New);
        assert_eq!(names(&map), ["accept", "mcp-name"]);
    }

    #[test]
    fn within_a_session_the_server_gets_its_own_id_and_the_clients_last_event() {
        let client = headers(&[("mcp-session-id", "sealed"), ("last-event-id", "9")]);
        let session = ServerSession::Known(HeaderValue::from_static("s1"));
        let map = to_server(&client, &session);
        assert_eq!(
            (map["mcp-session-id"].as_bytes(), map["last-event-id"].as_bytes()),
            (&b"s1"[..], &b"9"[..])
        );
    }

    #[rstest]
    #[case("set-cookie")]
    #[case("server")]
    #[case("x-behalf-reauthenticate")]
    #[case("www-authenticate")]
    #[case("access-control-allow-origin")]
    #[case("clear-site-data")]
    #[case("location")]
    #[case("mcp-session-id")]
    #[case("mcp-session_id")]
    #[case("transfer-encoding")]
    fn the_client_never_gets(#[case] name: &'static str) {
        assert!(!to_client(&headers(&[(name, "x")])).contains_key(name));
    }

    #[test]
    fn an_event_stream_forbids_buffering_and_every_answer_forbids_caching() {
        let map = to_client(&headers(&[("content-type", "text/event-stream; charset=utf-8")]));
        assert_eq!(map["x-accel-buffering"], "no");
        assert_eq!(map["cache-control"], "no-store");
        let map = to_client(&headers(&[
            ("content-type", "application/json"),
            ("cache-control", "public, max-age=3600"),
        ]));
        assert!(!map.contains_key("x-accel-buffering"));
        assert_eq!(map["cache-control"], "no-store");
    }

    #[rstest]
    #[case(&[("authorization", "Bearer abc")], Some("abc"))]
    #[case(&[("authorization", "bearer  abc")], Some("abc"))]
    #[case(&[("authorization", "Basic abc")], None)]
    #[case(&[("authorization", "Bearer")], None)]
    #[case(&[("authorization", "Bearer ")], None)]
    #[case(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], None)]
    #[case(&[], None)]
    fn reads_one_bearer_token(#[case] pairs: &[(&'static str, &str)], #[case] expected: Option<&str>) {
        assert_eq!(presented_token(&headers(pairs)), expected.map(Secret::new));
    }

    #[test]
    fn a_bearer_header_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", bearer(&Secret::new("abc")).unwrap()), "Sensitive");
        assert!(bearer(&Secret::new("a\nb")).is_none());
    }

    #[rstest]
    #[case(&[("mcp-method", "tools/call"), ("mcp-name", "run"), ("mcp-protocol-version", "2026-07-28")], true)]
    #[case(&[("mcp-name", "=?base64?cnVu?=")], true)]
    #[case(&[], true)]
    #[case(&[("mcp-method", "tools/list")], false)]
    #[case(&[("mcp-method", "Tools/Call")], false)]
    #[case(&[("mcp-name", "walk")], false)]
    #[case(&[("mcp-name", "=?base64?%%?=")], false)]
    #[case(&[("mcp-protocol-version", "2025-11-25")], false)]
    #[case(&[("mcp-method", "tools/call"), ("mcp-method", "tools/list")], false)]
    fn mirrored_headers_must_agree_with_the_body(
        #[case] pairs: &[(&'static str, &str)],
        #[case] expected: bool,
    ) {
        let body = r#"{"id":1,"method":"tools/call","params":{"name":"run","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let message = Message::parse(Bytes::from_static(body.as_bytes())).unwrap();
        assert_eq!(agree(&headers(pairs), &message), expected);
    }

    #[test]
    fn a_legacy_version_header_needs_no_counterpart_in_the_body() {
        let message = Message::parse(Bytes::from_static(br#"{"id":1,"method":"tools/list"}"#)).unwrap();
        assert!(agree(
            &headers(&[("mcp-protocol-version", "2025-11-25")]),
            &message
        ));
    }
}
