//! The HTTP response for a refusal. Only refusals that a sign-in or another origin resolves have status 401 or 403,
//! because clients then ask the user to sign in, or give up. No refusal has status 500.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use behalf_contract::RequestId;
use serde_json::{Value, json};

use super::body::Message;
use super::origin;
use super::protocol_version::is_stateless;
use super::refusal::ProxyRefusal;
use crate::access::challenge::Challenger;

/// `HeaderMismatch` of MCP 2026-07-28.
const HEADER_MISMATCH: i32 = -32020;

/// The code of an unknown session in the TypeScript SDK. Some clients know the 404 of a session by it.
const SESSION_NOT_FOUND: i32 = -32001;

/// `Retry-After` when the source of the failure names no time.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(5);

/// `Retry-After` while the server starts, or while other messages or calls hold the limit.
const RETRY_AFTER_BUSY: Duration = Duration::from_secs(2);

/// `Retry-After` while the federation is broken: an administrator must act, which takes longer.
const RETRY_AFTER_FEDERATION: Duration = Duration::from_secs(30);

/// The parts of a refused request that its response depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestInfo {
    id: Option<RequestId>,
    is_tool_call: bool,
    is_stateless: bool,
}

impl RequestInfo {
    /// Describes a body that is not a valid message, with its id if that is readable.
    pub(super) fn of_invalid_body(body: &[u8]) -> Self {
        Self {
            id: RequestId::of_refused(body),
            ..Self::default()
        }
    }

    /// Describes a valid message.
    pub(super) fn of_message(message: &Message, headers: &axum::http::HeaderMap) -> Self {
        Self {
            // The id of a client's response was chosen by the server.
            id: message.method().and(message.id()).cloned(),
            is_tool_call: message.is_tool_call(),
            is_stateless: is_stateless(headers),
        }
    }

    /// The id of the client's request. `None` for a notification, a response of the client, and a request without a body.
    pub(super) fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }
}

impl ProxyRefusal {
    fn status(&self, info: &RequestInfo) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken | Self::SignInRequired | Self::InsufficientClaims(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::ForeignOrigin | Self::InsufficientScope(_) => StatusCode::FORBIDDEN,
            // The user must see the message. Clients show JSON-RPC answers, and treat an HTTP error as a broken
            // server.
            Self::Blocked(_) | Self::MayHaveRun if info.id.is_some() => StatusCode::OK,
            Self::Blocked(_) | Self::MayHaveRun | Self::Body(_) | Self::HeaderMismatch => {
                StatusCode::BAD_REQUEST
            }
            // The status at which a client initializes again (MCP 2025-11-25, Session Management).
            Self::UnknownServerSession => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType | Self::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyTokens(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy
            | Self::UserBusy
            | Self::Unavailable(_)
            | Self::ClientAuthentication
            | Self::ServerAbsent => StatusCode::SERVICE_UNAVAILABLE,
            Self::Exchange | Self::ServerFailed | Self::ServerRefused => StatusCode::BAD_GATEWAY,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable(after) => Some(after.unwrap_or(RETRY_AFTER_UNKNOWN)),
            Self::TooManyTokens(after) => Some(*after),
            Self::ClientAuthentication => Some(RETRY_AFTER_FEDERATION),
            Self::Busy | Self::UserBusy | Self::ServerAbsent => Some(RETRY_AFTER_BUSY),
            _ => None,
        }
    }

    /// Returns the value of `WWW-Authenticate`.
    fn challenge(&self, challenger: &Challenger) -> Option<HeaderValue> {
        match self {
            Self::NoToken => Some(challenger.sign_in()),
            Self::InvalidToken | Self::SignInRequired => Some(challenger.invalid_token()),
            Self::InsufficientClaims(claims) => Some(challenger.insufficient_claims(claims)),
            Self::InsufficientScope(needed) => Some(challenger.insufficient_scope(*needed)),
            _ => None,
        }
    }

    /// Builds the response, with a challenge where a login helps.
    pub(super) fn answer(&self, info: &RequestInfo, challenger: &Challenger) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body(info).to_string()));
        *response.status_mut() = self.status(info);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after() {
            // Rounded up: a client that waits a part of a second less is refused again, and 0 means an immediate retry.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(challenge) = self.challenge(challenger) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(self, Self::Method) {
            headers.insert(ALLOW, origin::METHODS);
        }
        response
    }

    fn body(&self, info: &RequestInfo) -> Value {
        // If the id is not readable, the answer has no member `id` (MCP 2026-07-28, Error Responses).
        let mut answer = json!({"jsonrpc": "2.0"});
        if let Some(id) = &info.id {
            answer["id"] = json!(id);
        }
        if matches!(self, Self::Blocked(_) | Self::MayHaveRun) && info.is_tool_call && info.id.is_some() {
            let text = self.to_string();
            answer["result"] = json!({"content": [{"type": "text", "text": text}], "isError": true});
            if info.is_stateless {
                answer["result"]["resultType"] = json!("complete");
            }
            return answer;
        }
        let code = match self {
            Self::Body(error) => error.code(),
            Self::HeaderMismatch => HEADER_MISMATCH,
            Self::UnknownServerSession => SESSION_NOT_FOUND,
            Self::Blocked(_) => i32::from(StatusCode::FORBIDDEN.as_u16()),
            // JSON-RPC and MCP reserve the codes from -32768 to -32000.
            _ => i32::from(self.status(info).as_u16()),
        };
        answer["error"] = json!({"code": code, "message": self.to_string()});
        answer
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::HeaderMap;
    use http_body_util::BodyExt as _;
    use url::Url;

    use super::super::body_error::BodyError;
    use super::*;
    use crate::access::Scopes;
    use crate::http::public_url::Addresses;

    fn challenger() -> Challenger {
        let url = Url::parse("https://mcp.contoso.example").unwrap();
        Challenger::new(&Addresses::new(&url), Scopes::ALL)
    }

    async fn json_of(response: Response<Body>) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    fn info(body: &'static str, version: &str) -> RequestInfo {
        let message = Message::parse(Bytes::from_static(body.as_bytes())).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(
            super::super::protocol_version::PROTOCOL_VERSION,
            HeaderValue::from_str(version).unwrap(),
        );
        RequestInfo::of_message(&message, &headers)
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":"seven","method":"tools/call","params":{"name":"run"}}"#;

    #[tokio::test]
    async fn a_blocked_tool_call_gets_a_tool_result() {
        let refusal = ProxyRefusal::Blocked("Ask an administrator.".to_owned());
        let response = refusal.answer(&info(CALL, "2025-11-25"), &challenger());
        assert_eq!(response.status(), StatusCode::OK);
        let body = json_of(response).await;
        assert_eq!(body["id"], "seven");
        assert_eq!(body["result"]["isError"], true);
        assert_eq!(body["result"]["content"][0]["text"], "Ask an administrator.");
        assert!(body["result"].get("resultType").is_none());
        let body = json_of(refusal.answer(&info(CALL, "2026-07-28"), &challenger())).await;
        assert_eq!(body["result"]["resultType"], "complete");
    }

    #[tokio::test]
    async fn another_blocked_request_gets_an_error_without_a_challenge() {
        let refusal = ProxyRefusal::Blocked("Ask an administrator.".to_owned());
        let listed = info(r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#, "2025-11-25");
        let response = refusal.answer(&listed, &challenger());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(json_of(response).await["error"]["code"], 403);
        assert_eq!(
            refusal.answer(&RequestInfo::default(), &challenger()).status(),
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn only_sign_in_scope_and_origin_answer_401_and_403_and_nothing_answers_500() {
        let all = [
            ProxyRefusal::NoToken,
            ProxyRefusal::InvalidToken,
            ProxyRefusal::SignInRequired,
            ProxyRefusal::InsufficientScope(Scopes::ALL),
            ProxyRefusal::Blocked(String::new()),
            ProxyRefusal::ForeignOrigin,
            ProxyRefusal::Method,
            ProxyRefusal::ContentType,
            ProxyRefusal::Compressed,
            ProxyRefusal::TooLarge,
            ProxyRefusal::Incomplete,
            ProxyRefusal::Busy,
            ProxyRefusal::UserBusy,
            ProxyRefusal::TooManyTokens(Duration::ZERO),
            ProxyRefusal::MayHaveRun,
            ProxyRefusal::Body(BodyError::NotJson),
            ProxyRefusal::HeaderMismatch,
            ProxyRefusal::UnknownServerSession,
            ProxyRefusal::Unavailable(None),
            ProxyRefusal::ClientAuthentication,
            ProxyRefusal::Exchange,
            ProxyRefusal::ServerAbsent,
            ProxyRefusal::ServerFailed,
            ProxyRefusal::ServerRefused,
        ];
        for refusal in all {
            let response = refusal.answer(&RequestInfo::default(), &challenger());
            let status = response.status();
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{refusal:?}");
            let wants_scope = refusal == ProxyRefusal::InsufficientScope(Scopes::ALL);
            assert_eq!(
                status == StatusCode::UNAUTHORIZED || wants_scope,
                response.headers().contains_key(WWW_AUTHENTICATE),
                "{refusal:?}"
            );
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                refusal == ProxyRefusal::ForeignOrigin || wants_scope,
                "{refusal:?}"
            );
            let waits = response.headers().contains_key(RETRY_AFTER);
            let is_temporary =
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status);
            assert_eq!(is_temporary, waits, "{refusal:?}");
        }
    }

    #[test]
    fn a_wait_is_never_zero() {
        let response = ProxyRefusal::Unavailable(Some(Duration::from_millis(10)))
            .answer(&RequestInfo::default(), &challenger());
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
