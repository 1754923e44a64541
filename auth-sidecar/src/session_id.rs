//! Identifiers and secrets of sessions.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

use crate::random::{Random, random_bytes};

/// Identifies a session. It is not secret: logs and the store's keys contain it, and it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new id.
    pub fn generate(random: &dyn Random) -> Self {
        Self(random_bytes(random))
    }

    /// The id of what has these bytes. They must not be secret.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        BASE64URL.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &BASE64URL).fmt(formatter)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionId({self})")
    }
}

/// Opens a session's record, together with the keyring. Only the client's tokens contain it.
#[derive(Clone)]
pub(crate) struct SessionSecret(Arc<Zeroizing<[u8; 32]>>);

impl SessionSecret {
    pub(crate) fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut_slice());
        Self(Arc::new(bytes))
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(*bytes)))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn to_text(&self) -> String {
        BASE64URL.encode(self.expose())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        let length = BASE64URL.decode_slice(text, bytes.as_mut_slice()).ok()?;
        (length == 32).then(|| Self(Arc::new(bytes)))
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn identifiers_survive_their_text_form() {
        let id = SessionId::generate(&SystemRandom);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        let secret = SessionSecret::generate(&SystemRandom);
        assert_eq!(
            SessionSecret::parse(&secret.to_text()).unwrap().expose(),
            secret.expose()
        );
    }

    #[test]
    fn texts_of_another_length_are_refused() {
        for text in ["", "AAAA", "!", &"A".repeat(21), &"A".repeat(64)] {
            assert!(SessionId::parse(text).is_none(), "{text}");
            assert!(SessionSecret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = SessionSecret::generate(&SystemRandom);
        assert_eq!(format!("{secret:?}"), "SessionSecret(..)");
    }
}
