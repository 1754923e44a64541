//! The messages on the administration socket. No message contains a token or a mail address, except the token that an
//! administrator presents to be introspected.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A session in the list of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionMessage {
    /// Identifies the session.
    pub(super) id: String,

    /// Object id of the user in Entra.
    pub(super) user: String,

    /// The client id, or `registered:` and 16 digits of a client that registered itself. Absent if the id is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,

    /// The name that the client chose, shortened.
    pub(super) client_name: String,

    /// Time of the login.
    pub(super) signed_in_at: Timestamp,

    /// Time of the last refresh or renewal. Absent until the client has redeemed its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<Timestamp>,

    /// The session ends at this time unless it is used.
    pub(super) expires_at: Timestamp,

    /// The session ends at this time at the latest.
    pub(super) ends_at: Timestamp,
}

/// A page of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMessage {
    /// The sessions, in no order.
    pub(super) sessions: Vec<SessionMessage>,

    /// The parameter `cursor` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// The sessions that a request revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevokedMessage {
    /// Number of sessions.
    pub(super) revoked: usize,

    /// False if the user may have more sessions.
    pub(super) complete: bool,
}

/// The answer to a request to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DrainMessage {
    /// True: the sidecar drains until it stops.
    pub(super) draining: bool,
}

/// The answer to an introspection (RFC 7662, section 2.2). For a token that is not valid it has `active` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IntrospectionMessage {
    /// True if the token is valid now.
    pub(super) active: bool,

    /// The other members.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<TokenMessage>,
}

/// The facts about a valid token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenMessage {
    /// Scopes, separated by spaces.
    pub(super) scope: String,

    /// The client that the token was issued to.
    pub(super) client_id: String,

    /// `access_token` or `refresh_token`.
    pub(super) token_use: String,

    /// Expiry in seconds since 1970.
    pub(super) exp: i64,

    /// Time of issue in seconds since 1970.
    pub(super) iat: i64,

    /// Time of the user's login in seconds since 1970.
    pub(super) auth_time: i64,

    /// Object id of the user in Entra.
    pub(super) sub: String,

    /// The resource that the token is for.
    pub(super) aud: String,

    /// The issuer: the public origin of this server.
    pub(super) iss: String,

    /// The session, as the list of sessions names it.
    pub(super) sid: String,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ErrorMessage {
    /// One sentence with the next step.
    pub(super) error: String,
}
