//! The refusals of the proxy: why it does not forward a request, or does not pass on the server's answer.

use std::time::Duration;

use super::body::MAX_BODY_BYTES;
use super::body_error::BodyError;
use crate::access::Scopes;
use crate::limits::body_budget::{MessageError, ReadError};
use crate::sessions::SessionError;

/// Why a request is not forwarded, or its answer not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyRefusal {
    /// RFC 6750, section 3.1: no error code without a token.
    #[error("sign in first: this server takes an access token in the Authorization header")]
    NoToken,

    /// The access token is unknown or expired. The client refreshes it, or the user signs in again.
    #[error("the access token is not valid any more; refresh it, or sign in again")]
    InvalidToken,

    /// Entra requires a new sign-in. The session stays; the next refresh sends the client to the login.
    #[error("the identity provider wants the user to sign in again")]
    SignInRequired,

    /// The client presented a token of Entra, and Entra demands these claims of the next one (Conditional Access).
    #[error("the identity provider wants another token; request one with the claims of the challenge")]
    InsufficientClaims(String),

    /// The session lacks these scopes. A login that grants them helps.
    #[error("this call needs the scope {0}; sign in again and allow it on the consent page")]
    InsufficientScope(Scopes),

    /// Entra blocks the user or the application. A new login does not help. The text is the hint for the user.
    #[error("{0}")]
    Blocked(String),

    /// The `Origin` header names another origin.
    #[error(
        "pages of this origin may not call this server; an administrator decides in spec.clients.additionalRedirectHosts \
         which hosts may call it and receive sign-ins"
    )]
    ForeignOrigin,

    /// The HTTP method is not one of MCP's.
    #[error("use POST, GET, DELETE or OPTIONS")]
    Method,

    /// The content type is not `application/json`.
    #[error("send the message as application/json")]
    ContentType,

    /// The message has a content encoding.
    #[error("send the message without Content-Encoding")]
    Compressed,

    /// The message exceeds the maximum size.
    #[error("the message is larger than {} bytes", MAX_BODY_BYTES)]
    TooLarge,

    /// The message did not arrive in time, or the client stopped sending.
    #[error("the message did not arrive in time, or not whole")]
    Incomplete,

    /// The messages of all users use all the memory for messages.
    #[error("this server is reading as many messages as it has memory for; try again")]
    Busy,

    /// The messages or calls of this user reach the limit for one user.
    #[error("this user already has the maximum number of requests in flight; try again when one has ended")]
    UserBusy,

    /// The user presented too many new tokens of Entra. Holds the time until the next one.
    #[error(
        "you presented many new tokens of Entra in a short time; use each token until it expires, and try again later"
    )]
    TooManyTokens(Duration),

    /// The session ended after the call had been sent: a client that got 401 would sign in and call again.
    #[error("the session ended while the call was running; it may have run")]
    MayHaveRun,

    /// The body is not a message that can be passed on.
    #[error("{0}")]
    Body(#[from] BodyError),

    /// The headers contradict each other or the body (MCP 2026-07-28).
    #[error(
        "the headers Mcp-Method, Mcp-Name and MCP-Protocol-Version do not repeat the body; send in them what the body \
         contains"
    )]
    HeaderMismatch,

    /// The `Mcp-Session-Id` is of another user, session, Pod or process, or forged.
    #[error("the MCP session is not known here any more; initialize again")]
    UnknownServerSession,

    /// The session store or Entra does not answer. Holds the time until the next attempt, if known.
    #[error("sessions or the identity provider are not available at the moment; try again")]
    Unavailable(Option<Duration>),

    /// Entra refuses this process as the application. An administrator must act.
    #[error(
        "the identity provider does not accept this server as its application; an administrator has to look \
         at the condition FederationVerified"
    )]
    ClientAuthentication,

    /// Entra rejects the form of the sidecar's request, which is a defect of the sidecar.
    #[error(
        "the identity provider rejected a request of this server; ask an administrator to read the log of \
         container auth-sidecar"
    )]
    Exchange,

    /// Nothing listens on the server's port.
    #[error("the MCP server is starting or has stopped; try again")]
    ServerAbsent,

    /// The connection to the server broke, or the proxy may not pass on the server's answer.
    #[error(
        "the MCP server did not answer as it should; ask an administrator to read the log of container \
         mcp-server"
    )]
    ServerFailed,

    /// The server answered 401 or 403, and a new sign-in of the user does not help.
    #[error(
        "the MCP server refused a request of the sidecar; ask an administrator to read the log of container \
         auth-sidecar"
    )]
    ServerRefused,
}

impl ProxyRefusal {
    /// Returns the label of this refusal in the metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::InvalidToken => "invalid_token",
            Self::SignInRequired => "sign_in_required",
            Self::InsufficientClaims(_) => "insufficient_claims",
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
            Self::TooManyTokens(_) => "too_many_tokens",
            Self::MayHaveRun => "may_have_run",
            Self::Body(_) => "body",
            Self::HeaderMismatch => "header_mismatch",
            Self::UnknownServerSession => "unknown_server_session",
            Self::Unavailable(_) => "unavailable",
            Self::ClientAuthentication => "client_authentication",
            Self::Exchange => "exchange",
            Self::ServerAbsent => "server_absent",
            Self::ServerFailed => "server_failed",
            Self::ServerRefused => "server_refused",
        }
    }
}

impl From<MessageError> for ProxyRefusal {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Read(ReadError::TooLarge) => Self::TooLarge,
            MessageError::Read(ReadError::TimedOut | ReadError::Broken) => Self::Incomplete,
            MessageError::NoMemory => Self::Busy,
            MessageError::NoMemoryOfUser => Self::UserBusy,
        }
    }
}

impl From<SessionError> for ProxyRefusal {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Invalid => Self::InvalidToken,
            SessionError::SignInRequired => Self::SignInRequired,
            SessionError::Blocked(message) => Self::Blocked(message),
            SessionError::ClientAuthentication(_) => Self::ClientAuthentication,
            SessionError::Unavailable { retry_after, .. } => Self::Unavailable(retry_after),
        }
    }
}
