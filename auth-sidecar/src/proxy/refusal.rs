//! What the proxy answers itself. 401 and 403 make clients sign in or give up, so that only those two cases
//! have them; nothing here is ever a 500.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use behalf_contract::RequestId;
use serde_json::{Value, json};

use super::body::{BodyError, Message};
use super::headers;
use super::origin;
use crate::access::Scopes;
use crate::access::challenge::Challenger;
use crate::limits::body_budget::{MessageError, ReadError};
use crate::sessions::SessionError;

/// `HeaderMismatch` of MCP 2026-07-28.
const HEADER_MISMATCH: i32 = -32020;

/// How long to wait when nobody said.
const SOON: Duration = Duration::from_secs(5);

/// While the server starts, or others' messages arrive.
const IN_A_MOMENT: Duration = Duration::from_secs(2);

/// An administrator must fix a broken federation.
const LATER: Duration = Duration::from_secs(30);

/// Why a request is not forwarded, or its answer not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// RFC 6750, section 3.1: no error code without a token.
    #[error("sign in first: this server takes an access token in the Authorization header")]
    NoToken,

    /// Refresh it, or sign in again.
    #[error("the access token is not valid any more")]
    InvalidToken,

    /// The session stays; the next refresh sends the client to the login.
    #[error("the identity provider wants the user to sign in again")]
    SignInRequired,

    /// The session may only read. A login with these scopes helps.
    #[error("this call needs the scope {0}; sign in again and allow it on the consent page")]
    InsufficientScope(Scopes),

    /// A login does not cure it.
    #[error("{0}")]
    Blocked(String),

    /// A page of another origin.
    #[error("pages of this origin may not call this server")]
    ForeignOrigin,

    /// HTTP method.
    #[error("use POST, GET, DELETE or OPTIONS")]
    Method,

    /// Content type.
    #[error("send the message as application/json")]
    ContentType,

    /// Content encoding.
    #[error("send the message without Content-Encoding")]
    Compressed,

    /// Size.
    #[error("the message is larger than {} bytes", super::MAX_BODY_BYTES)]
    TooLarge,

    /// The client stopped sending.
    #[error("the message did not arrive in time, or not whole")]
    Incomplete,

    /// All messages on their way in together.
    #[error("this server is reading as many messages as it has memory for; try again")]
    Busy,

    /// All that one user has under way.
    #[error("you have as much under way as one user may; try again when some of it has ended")]
    UserBusy,

    /// The session ended after the call had been sent: a client that got 401 would sign in and call again.
    #[error("the session ended while the call was running; it may have run")]
    MayHaveRun,

    /// The body is not a message that can be passed on.
    #[error("{0}")]
    Body(#[from] BodyError),

    /// MCP 2026-07-28.
    #[error("the headers Mcp-Method, Mcp-Name, MCP-Protocol-Version and the body name different things")]
    HeaderMismatch,

    /// It passes.
    #[error("sessions or the identity provider are not available at the moment; try again")]
    Unavailable(Option<Duration>),

    /// An administrator must fix it.
    #[error(
        "the identity provider does not accept this server as its application; an administrator has to look \
         at the condition FederationVerified"
    )]
    ClientAuthentication,

    /// Our request to Entra was wrong.
    #[error("the identity provider could not make sense of a request of this server; see its log")]
    Exchange,

    /// Nothing listens.
    #[error("the MCP server is starting or has stopped; try again")]
    ServerAbsent,

    /// The connection broke, or the answer is none that may be passed on.
    #[error("the MCP server did not answer as it should; see its log")]
    ServerFailed,

    /// 401 or 403 that the user's sign-in would not cure.
    #[error("the MCP server refused a request of the sidecar; see its log")]
    ServerRefused,
}

/// The known parts of a request that is refused.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    id: Option<RequestId>,
    is_tool_call: bool,
    is_modern: bool,
}

impl About {
    /// A body that cannot be passed on, with its id if that can be read.
    pub(super) fn refused(body: &[u8]) -> Self {
        Self {
            id: RequestId::of_refused(body),
            ..Self::default()
        }
    }

    pub(super) fn message(message: &Message, headers: &axum::http::HeaderMap) -> Self {
        Self {
            // The id of a client's response was chosen by the server.
            id: message.method().and(message.id()).cloned(),
            is_tool_call: message.is_tool_call(),
            // Revisions are dates: their order is that of their text. The first without a handshake.
            is_modern: headers
                .get(headers::PROTOCOL_VERSION)
                .is_some_and(|version| version >= "2026-07-28"),
        }
    }
}

impl Refusal {
    /// The label of the count.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::InvalidToken => "invalid_token",
            Self::SignInRequired => "sign_in_required",
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::Blocked(_) => "blocked",
            Self::ForeignOrigin => "foreign_origin",
            Self::Method => "method",
            Self::ContentType => "content_type",
            Self::Compressed => "compressed",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::Busy => "busy",
            Self::UserBusy => "user_busy",
            Self::MayHaveRun => "may_have_run",
            Self::Body(_) => "body",
            Self::HeaderMismatch => "header_mismatch",
            Self::Unavailable(_) => "unavailable",
            Self::ClientAuthentication => "client_authentication",
            Self::Exchange => "exchange",
            Self::ServerAbsent => "server_absent",
            Self::ServerFailed => "server_failed",
            Self::ServerRefused => "server_refused",
        }
    }

    fn status(&self, about: &About) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken | Self::SignInRequired => StatusCode::UNAUTHORIZED,
            Self::ForeignOrigin | Self::InsufficientScope(_) => StatusCode::FORBIDDEN,
            // An answer to the request, which the person shall see: clients show JSON-RPC answers, and treat
            // an HTTP error as a broken server.
            Self::Blocked(_) | Self::MayHaveRun if about.id.is_some() => StatusCode::OK,
            Self::Blocked(_) | Self::MayHaveRun | Self::Body(_) | Self::HeaderMismatch => {
                StatusCode::BAD_REQUEST
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType | Self::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
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
            Self::Unavailable(after) => Some(after.unwrap_or(SOON)),
            Self::ClientAuthentication => Some(LATER),
            Self::Busy | Self::UserBusy | Self::ServerAbsent => Some(IN_A_MOMENT),
            _ => None,
        }
    }

    /// `WWW-Authenticate`.
    fn challenge(&self, challenger: &Challenger) -> Option<HeaderValue> {
        match self {
            Self::NoToken => Some(challenger.sign_in()),
            Self::InvalidToken | Self::SignInRequired => Some(challenger.invalid_token()),
            Self::InsufficientScope(needed) => Some(challenger.insufficient_scope(*needed)),
            _ => None,
        }
    }

    /// Builds the response, with a challenge where a login helps.
    pub(super) fn answer(&self, about: &About, challenger: &Challenger) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body(about).to_string()));
        *response.status_mut() = self.status(about);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after() {
            // A part of a second still is a wait.
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(challenge) = self.challenge(challenger) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(self, Self::Method) {
            headers.insert(ALLOW, origin::METHODS);
        }
        response
    }

    fn body(&self, about: &About) -> Value {
        // Without an id that can be read, the member is left out (MCP 2026-07-28, Error Responses).
        let mut answer = json!({"jsonrpc": "2.0"});
        if let Some(id) = &about.id {
            answer["id"] = json!(id);
        }
        if matches!(self, Self::Blocked(_) | Self::MayHaveRun) && about.is_tool_call && about.id.is_some() {
            let text = self.to_string();
            answer["result"] = json!({"content": [{"type": "text", "text": text}], "isError": true});
            if about.is_modern {
                answer["result"]["resultType"] = json!("complete");
            }
            return answer;
        }
        let code = match self {
            Self::Body(error) => error.code(),
            Self::HeaderMismatch => HEADER_MISMATCH,
            Self::Blocked(_) => i32::from(StatusCode::FORBIDDEN.as_u16()),
            // The codes from -32768 to -32000 belong to JSON-RPC and MCP.
            _ => i32::from(self.status(about).as_u16()),
        };
        answer["error"] = json!({"code": code, "message": self.to_string()});
        answer
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Read(ReadError::TooLarge) => Self::TooLarge,
            MessageError::Read(ReadError::Late | ReadError::Broken) => Self::Incomplete,
            MessageError::NoMemory => Self::Busy,
            MessageError::NoMemoryOfUser => Self::UserBusy,
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Invalid => Self::InvalidToken,
            SessionError::SignInRequired { .. } => Self::SignInRequired,
            SessionError::Blocked(message) => Self::Blocked(message),
            SessionError::ClientAuthentication(_) => Self::ClientAuthentication,
            SessionError::Unavailable { retry_after, .. } => Self::Unavailable(retry_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::HeaderMap;
    use http_body_util::BodyExt as _;
    use url::Url;

    use super::*;
    use crate::http::public_url::Addresses;

    fn challenger() -> Challenger {
        let url = Url::parse("https://mcp.contoso.example").unwrap();
        Challenger::new(&Addresses::new(&url), Scopes::ALL)
    }

    async fn json_of(response: Response<Body>) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    fn about(body: &'static str, version: &str) -> About {
        let message = Message::parse(Bytes::from_static(body.as_bytes())).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(headers::PROTOCOL_VERSION, HeaderValue::from_str(version).unwrap());
        About::message(&message, &headers)
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":"seven","method":"tools/call","params":{"name":"run"}}"#;

    #[tokio::test]
    async fn what_a_login_does_not_cure_is_a_tool_result() {
        let refusal = Refusal::Blocked("Ask an administrator.".to_owned());
        let response = refusal.answer(&about(CALL, "2025-11-25"), &challenger());
        assert_eq!(response.status(), StatusCode::OK);
        let body = json_of(response).await;
        assert_eq!(body["id"], "seven");
        assert_eq!(body["result"]["isError"], true);
        assert_eq!(body["result"]["content"][0]["text"], "Ask an administrator.");
        assert!(body["result"].get("resultType").is_none());
        let body = json_of(refusal.answer(&about(CALL, "2026-07-28"), &challenger())).await;
        assert_eq!(body["result"]["resultType"], "complete");
    }

    #[tokio::test]
    async fn elsewhere_it_is_an_error_that_is_no_challenge() {
        let refusal = Refusal::Blocked("Ask an administrator.".to_owned());
        let listed = about(r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#, "2025-11-25");
        let response = refusal.answer(&listed, &challenger());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(json_of(response).await["error"]["code"], 403);
        assert_eq!(
            refusal.answer(&About::default(), &challenger()).status(),
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn only_sign_in_scope_and_origin_answer_401_and_403_and_nothing_answers_500() {
        let all = [
            Refusal::NoToken,
            Refusal::InvalidToken,
            Refusal::SignInRequired,
            Refusal::InsufficientScope(Scopes::ALL),
            Refusal::Blocked(String::new()),
            Refusal::ForeignOrigin,
            Refusal::Method,
            Refusal::ContentType,
            Refusal::Compressed,
            Refusal::TooLarge,
            Refusal::Incomplete,
            Refusal::Busy,
            Refusal::UserBusy,
            Refusal::MayHaveRun,
            Refusal::Body(BodyError::NotJson),
            Refusal::HeaderMismatch,
            Refusal::Unavailable(None),
            Refusal::ClientAuthentication,
            Refusal::Exchange,
            Refusal::ServerAbsent,
            Refusal::ServerFailed,
            Refusal::ServerRefused,
        ];
        for refusal in all {
            let response = refusal.answer(&About::default(), &challenger());
            let status = response.status();
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{refusal:?}");
            let wants_scope = refusal == Refusal::InsufficientScope(Scopes::ALL);
            assert_eq!(
                status == StatusCode::UNAUTHORIZED || wants_scope,
                response.headers().contains_key(WWW_AUTHENTICATE),
                "{refusal:?}"
            );
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                refusal == Refusal::ForeignOrigin || wants_scope,
                "{refusal:?}"
            );
            let waits = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, waits, "{refusal:?}");
        }
    }

    #[test]
    fn a_wait_is_never_zero() {
        let response =
            Refusal::Unavailable(Some(Duration::from_millis(10))).answer(&About::default(), &challenger());
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
