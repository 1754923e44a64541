//! The header with which the server asks the sidecar for the user or for another token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

/// Maximum length of the header value in bytes. The claims challenges of Entra are shorter than 2 KiB.
const MAX_LENGTH: usize = 8 * 1024;

/// The answer of the server to the sidecar if a call needs the user: the value of
/// [`crate::headers::REAUTHENTICATE`], base64url of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reauthenticate {
    /// Why the call needs the user.
    pub reason: ReauthenticateReason,

    /// The claims that Entra requires, as JSON. The user's next sign-in sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,

    /// True if the user or an administrator must consent first (AADSTS65001). The next sign-in asks for it. Absent
    /// means false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consent: bool,
}

/// Why a call needs the user, or another token of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReauthenticateReason {
    /// Conditional Access requires an action of the user (`interaction_required`).
    InteractionRequired,

    /// The user's grant has expired, was revoked, or lost its consent (`invalid_grant`).
    GrantExpired,

    /// The downstream API no longer accepts the token. The call has changed nothing, so the sidecar may send it again
    /// with another token.
    TokenRefused,

    /// Entra no longer accepts the user's token as On-Behalf-Of assertion (AADSTS500133, AADSTS50013).
    /// The call has changed nothing, so the sidecar may send it again with a renewed token.
    UserTokenRefused,
}

/// Why a header value is not a [`Reauthenticate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReauthenticateError {
    /// The value is longer than the limit.
    #[error("reauthentication header is longer than {MAX_LENGTH} bytes")]
    TooLong,

    /// The value is not base64url without padding.
    #[error("reauthentication header is not base64url")]
    Encoding,

    /// The value is not the JSON object that this version reads.
    #[error("reauthentication header contains no known reason")]
    Shape,
}

impl Reauthenticate {
    /// Returns the value of the header.
    pub fn encode(&self) -> String {
        BASE64URL.encode(serde_json::json!(self).to_string())
    }

    /// Reads the value of the header.
    pub fn decode(value: &[u8]) -> Result<Self, ReauthenticateError> {
        if value.len() > MAX_LENGTH {
            return Err(ReauthenticateError::TooLong);
        }
        let json = BASE64URL
            .decode(value)
            .map_err(|_| ReauthenticateError::Encoding)?;
        serde_json::from_slice(&json).map_err(|_| ReauthenticateError::Shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        for claims in [
            None,
            Some(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned()),
        ] {
            for consent in [false, true] {
                for reason in [
                    ReauthenticateReason::InteractionRequired,
                    ReauthenticateReason::GrantExpired,
                    ReauthenticateReason::TokenRefused,
                    ReauthenticateReason::UserTokenRefused,
                ] {
                    let sent = Reauthenticate {
                        reason,
                        claims: claims.clone(),
                        consent,
                    };
                    assert_eq!(Reauthenticate::decode(sent.encode().as_bytes()), Ok(sent));
                }
            }
        }
    }

    #[test]
    fn missing_and_additional_members_are_accepted() {
        let older = BASE64URL.encode(r#"{"reason":"GrantExpired"}"#);
        assert!(!Reauthenticate::decode(older.as_bytes()).unwrap().consent);
        let newer = BASE64URL.encode(r#"{"reason":"GrantExpired","consent":true,"later":{}}"#);
        assert!(Reauthenticate::decode(newer.as_bytes()).unwrap().consent);
    }

    #[test]
    fn consent_is_written_only_if_it_is_needed() {
        let plain = Reauthenticate {
            reason: ReauthenticateReason::GrantExpired,
            claims: None,
            consent: false,
        };
        assert_eq!(plain.encode(), BASE64URL.encode(r#"{"reason":"GrantExpired"}"#));
    }

    #[test]
    fn refuses_values_that_are_not_a_challenge() {
        assert_eq!(Reauthenticate::decode(b"%%"), Err(ReauthenticateError::Encoding));
        assert_eq!(
            Reauthenticate::decode(BASE64URL.encode("{}").as_bytes()),
            Err(ReauthenticateError::Shape)
        );
        assert_eq!(
            Reauthenticate::decode(&vec![b'A'; MAX_LENGTH + 1]),
            Err(ReauthenticateError::TooLong)
        );
    }
}
