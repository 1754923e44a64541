//! Tokens of the application itself.

use behalf_contract::is_guid;
use jiff::Timestamp;
use serde::Deserialize;

use crate::response::TokenSet;
use crate::secret::Secret;
use crate::unverified::unverified_claims;

/// A token that Entra issued to the application itself.
#[derive(Clone, Debug)]
pub struct ApplicationToken {
    /// The access token.
    pub token: Secret,

    /// Object id of the application's service principal, from the token. Services know the application by it.
    pub object_id: String,

    /// Time before the request for the token.
    pub asked_at: Timestamp,

    /// Time at which the token expires.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct ApplicationClaims {
    oid: String,
}

impl ApplicationToken {
    /// Reads `oid`. The token is not validated: Entra sent it over TLS in answer to this process, and its API validates it.
    pub(crate) fn new(tokens: TokenSet, asked_at: Timestamp) -> Option<Self> {
        let claims: ApplicationClaims = unverified_claims(&tokens.access_token)?;
        is_guid(&claims.oid).then_some(Self {
            token: tokens.access_token,
            object_id: claims.oid,
            asked_at,
            expires_at: tokens.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(payload: &str) -> Option<ApplicationToken> {
        let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        let tokens = TokenSet {
            access_token: Secret::new(text),
            expires_at: Timestamp::UNIX_EPOCH,
            refresh_token: None,
            id_token: None,
        };
        ApplicationToken::new(tokens, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_object_id_is_read_and_the_token_is_not_printed() {
        let read = token(r#"{"oid":"be4a1f00-c11e-4000-8000-00000000a002"}"#).unwrap();
        assert_eq!(read.object_id, "be4a1f00-c11e-4000-8000-00000000a002");
        assert!(!format!("{read:?}").contains("e30."));
    }

    #[test]
    fn a_token_without_an_object_id_is_none() {
        for payload in ["{}", r#"{"oid":"default"}"#, r#"{"oid":1}"#, ""] {
            assert!(token(payload).is_none(), "{payload}");
        }
    }
}
