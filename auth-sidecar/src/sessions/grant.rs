//! The access tokens, refresh tokens and codes of clients, and their sealed content.

use behalf_entra::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::record::Record;
use super::user_digest::UserDigest;
use super::{Sessions, later};
use crate::access::Scopes;
use crate::keys::{KeyringHandle, OpenError, Purpose, SealError};
use crate::session_id::{SessionId, SessionSecret};

/// The response of the token endpoint to a client.
#[derive(Debug)]
pub struct ClientTokens {
    /// Sealed [`Grant`] for `/mcp`.
    pub access_token: Secret,

    /// Sealed [`Grant`] for the token endpoint.
    pub refresh_token: Secret,

    /// Lifetime of the access token in seconds.
    pub expires_in_seconds: u64,

    /// Scopes of the access token.
    pub scopes: Scopes,
}

/// The sealed content of an access token or a refresh token.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) id: SessionId,
    pub(super) secret: SessionSecret,
    pub(super) generation: u64,
    pub(super) client: ClientDigest,
    pub(super) resource: String,
    pub(super) scopes: Scopes,
    pub(super) expires_at: Timestamp,

    /// Time of issue, to the second. Only introspection uses it.
    pub(super) issued_at: Timestamp,
}

/// The first byte of a serialized [`Grant`]. Earlier forms were JSON, which begins otherwise.
const GRANT_VERSION: u8 = 1;

/// Bits of the scopes of a [`Grant`].
const READ: u8 = 1;
const RUN: u8 = 2;

impl Grant {
    /// Opens a token that [`Grant::seal`] made for the same purpose.
    pub(super) fn open(keyring: &KeyringHandle, purpose: Purpose, token: &Secret) -> Result<Self, OpenError> {
        let bytes = Zeroizing::new(keyring.open_bytes(purpose, token.expose())?);
        Self::from_bytes(&bytes).ok_or(OpenError::Malformed)
    }

    fn seal(&self, keyring: &KeyringHandle, purpose: Purpose) -> Result<Secret, SealError> {
        keyring.seal_bytes(purpose, &self.to_bytes()).map(Secret::new)
    }

    /// Serializes the fields in their order. All have a fixed length but the resource, which is the last one. Every call
    /// carries these bytes and reads them.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let scopes = (u8::from(self.scopes.read) * READ) | (u8::from(self.scopes.run) * RUN);
        let parts: [&[u8]; 9] = [
            &[GRANT_VERSION],
            self.id.as_bytes(),
            self.secret.expose(),
            &self.client.0,
            &self.generation.to_be_bytes(),
            &[scopes],
            &self.expires_at.as_millisecond().to_be_bytes(),
            &self.issued_at.as_second().to_be_bytes(),
            self.resource.as_bytes(),
        ];
        Zeroizing::new(parts.concat())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk::<1>()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (client, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let ([scopes], rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (issued_at, resource) = rest.split_first_chunk()?;
        if *version != [GRANT_VERSION] || scopes & !(READ | RUN) != 0 {
            return None;
        }
        Some(Self {
            id: SessionId::from_bytes(*id),
            secret: SessionSecret::from_bytes(secret),
            generation: u64::from_be_bytes(*generation),
            client: ClientDigest(*client),
            resource: std::str::from_utf8(resource).ok()?.to_owned(),
            scopes: Scopes {
                read: scopes & READ != 0,
                run: scopes & RUN != 0,
            },
            expires_at: Timestamp::from_millisecond(i64::from_be_bytes(*expires_at)).ok()?,
            issued_at: Timestamp::from_second(i64::from_be_bytes(*issued_at)).ok()?,
        })
    }
}

/// The sealed content of an authorization code. It contains no token of Entra. Its secret opens the session's
/// record until a client redeems the code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Code {
    #[serde(rename = "i")]
    pub(super) id: SessionId,

    #[serde(rename = "k")]
    pub(super) secret: SessionSecret,

    #[serde(rename = "c")]
    pub(super) client: ClientDigest,

    #[serde(rename = "u")]
    pub(super) redirect_uri: String,

    #[serde(rename = "h")]
    pub(super) challenge: String,

    #[serde(rename = "r")]
    pub(super) resource: String,

    #[serde(rename = "e", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub(super) expires_at: Timestamp,
}

/// SHA-256 of a client id. The ids of registered clients are too long for every call to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientDigest([u8; 32]);

impl ClientDigest {
    pub(super) fn of(client_id: &str) -> Self {
        Self(Sha256::digest(client_id).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The inputs for a session's access token and refresh token.
pub(super) struct Issue<'a> {
    pub(super) id: &'a SessionId,
    pub(super) secret: &'a SessionSecret,
    pub(super) record: &'a Record,
    pub(super) generation: u64,
    pub(super) scopes: Scopes,
    pub(super) now: Timestamp,
}

impl Sessions {
    /// Seals an access token and a refresh token of one generation.
    pub(super) fn client_tokens(&self, issue: &Issue<'_>) -> Result<ClientTokens, SealError> {
        let Issue {
            id,
            secret,
            record,
            generation,
            scopes,
            now,
        } = *issue;
        let expires_at = later(now, self.rules.access_token_lifetime).min(record.ends_at);
        let access = Grant {
            id: *id,
            secret: secret.clone(),
            generation,
            client: ClientDigest::of(&record.client_id),
            resource: self.rules.resource.clone(),
            scopes,
            expires_at,
            issued_at: now,
        };
        let refresh = Grant {
            scopes: record.scopes,
            expires_at: record.ends_at,
            ..access.clone()
        };
        Ok(ClientTokens {
            access_token: access.seal(&self.keyring, Purpose::Access)?,
            refresh_token: refresh.seal(&self.keyring, Purpose::Refresh)?,
            expires_in_seconds: u64::try_from(expires_at.duration_since(now).as_secs()).unwrap_or_default(),
            scopes,
        })
    }
}

/// Serializes ids, secrets and digests as base64url.
mod text {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{ClientDigest, SessionId, SessionSecret, UserDigest};

    impl Serialize for SessionId {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for SessionId {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Self::parse(&text).ok_or_else(|| D::Error::custom("not a session id"))
        }
    }

    impl Serialize for SessionSecret {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.to_text())
        }
    }

    impl<'de> Deserialize<'de> for SessionSecret {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Self::parse(&text).ok_or_else(|| D::Error::custom("not a session secret"))
        }
    }

    macro_rules! as_base64url {
        ($digest:ident) => {
            impl Serialize for $digest {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(&BASE64URL.encode(self.0))
                }
            }

            impl<'de> Deserialize<'de> for $digest {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let bytes = BASE64URL
                        .decode(String::deserialize(deserializer)?)
                        .map_err(D::Error::custom)?;
                    bytes
                        .try_into()
                        .map(Self)
                        .map_err(|_| D::Error::custom("not a digest"))
                }
            }
        };
    }

    as_base64url!(ClientDigest);
    as_base64url!(UserDigest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SystemRandom;

    fn grant(scopes: Scopes) -> Grant {
        Grant {
            id: SessionId::generate(&SystemRandom),
            secret: SessionSecret::generate(&SystemRandom),
            generation: 258,
            client: ClientDigest::of("c"),
            resource: "https://mcp.example.com/mcp".to_owned(),
            scopes,
            expires_at: "2026-11-27T01:02:03.004Z".parse().unwrap(),
            issued_at: "2026-11-27T00:02:03Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_grant_is_equal_after_serialization() {
        for scopes in [Scopes::READ, Scopes::ALL, Scopes::default()] {
            let grant = grant(scopes);
            let again = Grant::from_bytes(&grant.to_bytes()).unwrap();
            assert_eq!(again.id, grant.id);
            assert_eq!(again.secret.expose(), grant.secret.expose());
            assert_eq!(again.generation, grant.generation);
            assert_eq!(again.client, grant.client);
            assert_eq!(again.resource, grant.resource);
            assert_eq!(again.scopes, grant.scopes);
            assert_eq!(
                (again.expires_at, again.issued_at),
                (grant.expires_at, grant.issued_at)
            );
        }
    }

    #[test]
    fn other_bytes_are_no_grant() {
        let bytes = grant(Scopes::ALL).to_bytes();
        let without_resource = bytes.len() - "https://mcp.example.com/mcp".len();
        for length in 0..without_resource {
            assert!(Grant::from_bytes(&bytes[..length]).is_none(), "{length}");
        }
        let changed = |place: usize, byte: u8| {
            let mut bytes = bytes.to_vec();
            bytes[place] = byte;
            Grant::from_bytes(&bytes)
        };
        assert!(changed(0, 2).is_none(), "another version");
        assert!(changed(1 + 16 + 32 + 32 + 8, 4).is_none(), "an unknown scope");
        assert!(changed(without_resource, 0xff).is_none(), "no text");
        assert!(Grant::from_bytes(br#"{"i":"AAAAAAAAAAAAAAAAAAAAAA","g":1}"#).is_none());
    }
}
