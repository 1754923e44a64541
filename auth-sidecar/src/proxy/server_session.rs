//! `Mcp-Session-Id`: the id that a stateful server gives to a client for its MCP session (MCP 2025-11-25, Streamable
//! HTTP, Session Management).
//!
//! Nothing binds the server's id to a user, and only the server of this Pod knows it. The client therefore gets the id
//! sealed to the user and the session, under a key that exists in this process only. A text that does not open is
//! answered with 404, at which the client initializes again. Any Pod can answer that, so no gateway needs sticky routing.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use behalf_contract::mcp;

use super::body::Message;
use super::protocol_version::is_stateless;
use super::refusal::ProxyRefusal;
use crate::keys::{ProcessKey, Random};
use crate::sessions::OpenSession;

/// The header that carries the id, in both directions.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static(mcp::SESSION_ID_HEADER);

/// The request that begins an MCP session.
const INITIALIZE: &str = "initialize";

/// The start of a sealed id. A person or a secret scanner recognizes it. The digit is the version of the form. No
/// [`Purpose`](crate::keys::Purpose) has it.
pub const PREFIX: &str = "bht1.";

/// Maximum length in bytes of a server's id. Servers use UUIDs of 36 bytes, some use signed tokens.
const MAX_ID_BYTES: usize = 1024;

/// Maximum length in bytes of a sealed id: the prefix, and in base64 the id, a nonce of 12 bytes and a tag of 16.
const MAX_SEALED_BYTES: usize = PREFIX.len() + (MAX_ID_BYTES + 28).div_ceil(3) * 4;

/// Seals and opens the ids of the server in this Pod.
#[derive(Debug, Clone)]
pub(super) struct ServerSessions(ProcessKey);

/// The session of the server that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerSession {
    /// The request belongs to this session of the server.
    Known(HeaderValue),

    /// The request has no id. Its answer may give one to the client.
    New,

    /// The protocol revision of the request has no sessions, so no id crosses the proxy.
    Unsupported,
}

/// The server's id cannot be an MCP session id. The server must be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the MCP server's Mcp-Session-Id is not 1 to {MAX_ID_BYTES} visible ASCII characters, or there are several"
)]
pub(super) struct UnusableId;

impl ServerSessions {
    /// Makes the key, so that no id of an earlier process opens.
    pub(super) fn new(random: &dyn Random) -> Self {
        Self(ProcessKey::generate(random))
    }

    /// Opens the id of a client's request. `initialize` begins a session, so its id does not count: some clients keep
    /// the id of their last session when they initialize again.
    pub(super) fn of_request(
        &self,
        client: &HeaderMap,
        message: Option<&Message>,
        session: &OpenSession,
    ) -> Result<ServerSession, ProxyRefusal> {
        if is_stateless(client) {
            return Ok(ServerSession::Unsupported);
        }
        if message.is_some_and(|message| message.method() == Some(INITIALIZE)) {
            return Ok(ServerSession::New);
        }
        let mut values = client.get_all(SESSION_ID).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(ServerSession::New),
            (Some(value), None) => self
                .open(value, &owner(session))
                .map(ServerSession::Known)
                .ok_or(ProxyRefusal::UnknownServerSession),
            (Some(_), Some(_)) => Err(ProxyRefusal::UnknownServerSession),
        }
    }

    /// Returns the value that the client gets for the id in the server's answer. A client that has an id keeps it.
    pub(super) fn for_client(
        &self,
        requested: &ServerSession,
        server: &HeaderMap,
        session: &OpenSession,
        random: &dyn Random,
    ) -> Result<Option<HeaderValue>, UnusableId> {
        if *requested != ServerSession::New {
            return Ok(None);
        }
        let mut values = server.get_all(SESSION_ID).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(id), None) => self.seal(id, &owner(session), random).map(Some),
            (Some(_), Some(_)) => Err(UnusableId),
        }
    }

    fn seal(&self, id: &HeaderValue, owner: &[u8], random: &dyn Random) -> Result<HeaderValue, UnusableId> {
        let id = id.as_bytes();
        let is_visible = !id.is_empty() && id.iter().all(u8::is_ascii_graphic);
        if !is_visible || id.len() > MAX_ID_BYTES {
            return Err(UnusableId);
        }
        let sealed = self.0.seal(owner, id, random).map_err(|_| UnusableId)?;
        HeaderValue::from_str(&format!("{PREFIX}{sealed}")).map_err(|_| UnusableId)
    }

    fn open(&self, value: &HeaderValue, owner: &[u8]) -> Option<HeaderValue> {
        let text = value
            .to_str()
            .ok()
            .filter(|text| text.len() <= MAX_SEALED_BYTES)?;
        let id = self.0.open(owner, text.strip_prefix(PREFIX)?)?;
        HeaderValue::from_bytes(&id).ok()
    }
}

/// The associated data: user and session. The session of a token of Entra changes with each token, so its application stands
/// for it. The ids have no NUL, so that no two owners are written alike.
fn owner(session: &OpenSession) -> Vec<u8> {
    let user = &session.user;
    let (kind, holder): (&[u8], &[u8]) = if session.has_record() {
        (b"session", session.id.as_bytes())
    } else {
        (b"application", session.client_id.as_bytes())
    };
    let parts: [&[u8]; 5] = [
        b"mcp-session-id",
        user.tid.as_bytes(),
        user.oid.as_bytes(),
        kind,
        holder,
    ];
    parts.join(&0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::keys::SystemRandom;

    const OWNER: &[u8] = b"ana";

    fn sessions() -> ServerSessions {
        ServerSessions::new(&SystemRandom)
    }

    fn seal(sessions: &ServerSessions, id: &str) -> Result<HeaderValue, UnusableId> {
        sessions.seal(&HeaderValue::from_str(id).unwrap(), OWNER, &SystemRandom)
    }

    #[rstest]
    #[case("1868a90c-7dbb-4a4c-9c0e-0a6a3f0b1f3e")]
    #[case("!\"\\~")]
    #[case(&"x".repeat(MAX_ID_BYTES))]
    fn an_id_opens_for_its_owner_and_in_its_process_only(#[case] id: &str) {
        let pod = sessions();
        let sealed = seal(&pod, id).unwrap();
        assert!(sealed.len() <= MAX_SEALED_BYTES);
        assert!(!sealed.to_str().unwrap().contains(id));
        assert_eq!(pod.open(&sealed, OWNER).unwrap(), id);
        assert_eq!(pod.open(&sealed, b"ben"), None);
        assert_eq!(sessions().open(&sealed, OWNER), None, "another process");
        assert_ne!(seal(&pod, id).unwrap(), sealed, "the nonce is random");
    }

    #[rstest]
    #[case("")]
    #[case("two words")]
    #[case(&"x".repeat(MAX_ID_BYTES + 1))]
    fn an_id_that_mcp_does_not_allow_is_not_sealed(#[case] id: &str) {
        assert_eq!(seal(&sessions(), id), Err(UnusableId));
    }

    #[test]
    fn an_altered_text_does_not_open() {
        let pod = sessions();
        let sealed = seal(&pod, "s1").unwrap();
        let sealed = sealed.to_str().unwrap();
        let swapped = if sealed.ends_with('A') { "B" } else { "A" };
        for text in [
            "s1".to_owned(),
            PREFIX.to_owned(),
            sealed.replace(PREFIX, ""),
            sealed.replace(PREFIX, "bha1."),
            format!("{sealed}="),
            format!("{}{swapped}", &sealed[..sealed.len() - 1]),
            format!("{PREFIX}{}", "A".repeat(MAX_SEALED_BYTES)),
        ] {
            let value = HeaderValue::from_str(&text).unwrap();
            assert_eq!(pod.open(&value, OWNER), None, "{text}");
        }
    }
}
