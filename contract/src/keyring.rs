//! The keyring: the keys in the Secret that the operator creates and the sidecar reads.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The keys of one `McpServer`, as the keyring Secret contains them.
///
/// The keys are only input of HKDF. Clients keep registered ids forever, so the keys of these ids are a set of their
/// own, which outlives rotation. Unknown members are ignored, so that a release reads the keyring of the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// Keys for sessions, codes, cookies and records.
    pub sessions: Keys,

    /// Keys for the ids of dynamically registered clients.
    pub clients: Keys,
}

/// A set of keys. One seals, all open.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// The id of the key that seals.
    pub sealing: String,

    /// All keys that open, the sealing one among them.
    pub keys: Vec<Key>,
}

/// One key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The public id, which precedes every sealed text. `[a-z0-9]{1,16}`.
    pub id: String,

    /// 32 random bytes.
    pub material: KeyMaterial,

    /// The time at which the operator made the key.
    pub created_at: Timestamp,

    /// The time from which nothing that this key sealed is valid. The operator sets it when another key begins to seal,
    /// and removes the key after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_at: Option<Timestamp>,
}

/// Returns whether a text is the id of a key: `[a-z0-9]{1,16}`.
pub fn is_key_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=16).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// 32 bytes of key, in base64 in the file. `Debug` prints none of them, and they are overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial(Zeroizing<[u8; 32]>);

impl KeyMaterial {
    /// Wraps bytes from a cryptographic random source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, for key derivation only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyMaterial(..)")
    }
}

impl Serialize for KeyMaterial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(self.expose())))
    }
}

impl<'de> Deserialize<'de> for KeyMaterial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error must not quote what it could not read: it may be most of a key.
        let refused = || serde::de::Error::custom("key material must be 32 bytes in base64");
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = Zeroizing::new(BASE64.decode(text.as_bytes()).map_err(|_| refused())?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| refused())?;
        Ok(Self::new(bytes))
    }
}

/// Why a keyring cannot be used. An administrator or the operator can fix it.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The text is not the JSON that this version reads. The error leaves out the parser's message, because it may
    /// quote key material.
    #[error(
        "keyring is not readable at line {line}, column {column}; restore the keyring Secret; with keys.type Managed it can also be deleted to have a new one made, which ends every session"
    )]
    Unreadable {
        /// 1-based line of the first fault.
        line: usize,

        /// 1-based column of the first fault.
        column: usize,
    },

    /// The sealing key is not among the keys.
    #[error(
        "keyring names the sealing key {0:?} but does not contain it; add this key, or set `sealing` to the id of another key"
    )]
    NoSealingKey(String),

    /// Two keys have the same id, or an id has other characters.
    #[error(
        "keyring has a repeated or malformed key id {0:?}; give each key an id of its own, 1 to 16 characters from a-z and 0-9"
    )]
    KeyId(String),
}

impl Keyring {
    /// Reads and checks a keyring file.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyringError> {
        let keyring: Self = serde_json::from_slice(bytes).map_err(|error| KeyringError::Unreadable {
            line: error.line(),
            column: error.column(),
        })?;
        keyring.sessions.check()?;
        keyring.clients.check()?;
        Ok(keyring)
    }
}

impl Keys {
    /// Returns the key that will seal next. It is newer than the sealing key and opens already. It seals once every Pod
    /// has read it.
    pub fn next(&self) -> Option<&Key> {
        let sealing = self.keys.iter().find(|key| key.id == self.sealing)?;
        self.keys
            .iter()
            .filter(|key| key.retire_at.is_none() && key.created_at > sealing.created_at)
            .max_by_key(|key| key.created_at)
    }

    fn check(&self) -> Result<(), KeyringError> {
        for (index, key) in self.keys.iter().enumerate() {
            if !is_key_id(&key.id) || self.keys.iter().take(index).any(|other| other.id == key.id) {
                return Err(KeyringError::KeyId(key.id.clone()));
            }
        }
        if self.keys.iter().any(|key| key.id == self.sealing) {
            Ok(())
        } else {
            Err(KeyringError::NoSealingKey(self.sealing.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sealing: &str, ids: &[&str]) -> String {
        let keys: Vec<_> = ids
            .iter()
            .map(|id| serde_json::json!({"id": id, "material": BASE64.encode([7; 32]), "createdAt": "2026-01-01T00:00:00Z"}))
            .collect();
        serde_json::json!({
            "sessions": {"sealing": sealing, "keys": keys},
            "clients": {"sealing": ids[0], "keys": keys},
        })
        .to_string()
    }

    #[test]
    fn reads_what_it_writes() {
        let keyring = Keyring::parse(file("k1", &["k1", "k2"]).as_bytes()).unwrap();
        let again = Keyring::parse(&serde_json::to_vec(&keyring).unwrap()).unwrap();
        assert_eq!(again.sessions.keys[1].material, keyring.sessions.keys[1].material);
    }

    #[test]
    fn refuses_a_missing_sealing_key() {
        assert!(
            matches!(Keyring::parse(file("k9", &["k1"]).as_bytes()), Err(KeyringError::NoSealingKey(id)) if id == "k9")
        );
    }

    #[test]
    fn refuses_repeated_and_malformed_ids() {
        for ids in [&["k1", "k1"][..], &["k1", "K2"], &["k1", ""], &["k1", "a-b"]] {
            assert!(
                matches!(
                    Keyring::parse(file("k1", ids).as_bytes()),
                    Err(KeyringError::KeyId(_))
                ),
                "{ids:?}"
            );
        }
    }

    #[test]
    fn errors_and_debug_do_not_quote_key_material() {
        let material = BASE64.encode([9; 31]);
        let text = file("k1", &["k1"]).replace(&BASE64.encode([7; 32]), &material);
        let error = Keyring::parse(text.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&material));
        let keyring = Keyring::parse(file("k1", &["k1"]).as_bytes()).unwrap();
        assert!(!format!("{keyring:?}").contains("7, 7"));
    }
}
