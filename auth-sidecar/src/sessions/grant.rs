//! The access tokens, refresh tokens and codes of clients, and their sealed content.

use behalf_entra::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::record::Record;
use super::user_digest::UserDigest;
use super::{Sessions, later};
use crate::access::Scopes;
use crate::keys::{Purpose, SealError};
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

/// The sealed content of an access token or a refresh token. The field names are short, because every call
/// carries them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Grant {
    #[serde(rename = "i")]
    pub(super) id: SessionId,

    #[serde(rename = "k")]
    pub(super) secret: SessionSecret,

    #[serde(rename = "g")]
    pub(super) generation: u64,

    #[serde(rename = "c")]
    pub(super) client: ClientDigest,

    #[serde(rename = "r")]
    pub(super) resource: String,

    #[serde(rename = "s")]
    pub(super) scopes: Scopes,

    #[serde(rename = "e", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub(super) expires_at: Timestamp,

    /// Time of issue. Only introspection uses it.
    #[serde(rename = "t", with = "jiff::fmt::serde::timestamp::second::required")]
    pub(super) issued_at: Timestamp,
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
            access_token: Secret::new(self.keyring.seal(Purpose::Access, &access)?),
            refresh_token: Secret::new(self.keyring.seal(Purpose::Refresh, &refresh)?),
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
