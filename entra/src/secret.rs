//! Credentials, which must never be printed.

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A token, code, assertion or verifier.
///
/// `Debug` does not print the value. There is no `Display` and no `Serialize`. A comparison takes the same time
/// wherever two values differ. The memory is overwritten on drop; buffers of the HTTP and TLS libraries are not.
#[derive(Clone)]
pub struct Secret {
    value: Zeroizing<String>,
    digest: OnceLock<[u8; 32]>,
}

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: Zeroizing::new(value.into()),
            digest: OnceLock::new(),
        }
    }

    /// Returns the value, for code that sends or parses it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Returns the SHA-256 of the value, which identifies a token in caches and opens nothing. It is computed once, because each
    /// call looks for its user's token in several caches.
    pub fn digest(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| Sha256::digest(self.expose()).into())
    }

    /// True if the value is the empty text.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.value.as_bytes().ct_eq(other.value.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_value() {
        let secret = Secret::new("eyJhbGciOi");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(format!("{:?}", Some(&secret)), "Some(Secret(..))");
    }

    #[test]
    fn the_digest_is_that_of_the_value_also_of_a_copy() {
        // The first example of FIPS 180.
        let secret = Secret::new("abc");
        let expected = [0xba, 0x78, 0x16, 0xbf];
        assert_eq!(secret.digest()[..4], expected);
        assert_eq!(secret.clone().digest()[..4], expected);
        assert_ne!(Secret::new("abd").digest(), secret.digest());
    }

    #[test]
    fn compares_by_value() {
        assert_eq!(Secret::new("one"), Secret::new("one"));
        assert_ne!(Secret::new("one"), Secret::new("two"));
        assert_ne!(Secret::new("one"), Secret::new("one more"));
    }
}
