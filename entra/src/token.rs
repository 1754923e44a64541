//! Validation of tokens that Entra issued for this application.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cached::Pauses;
use crate::claims::{Claims, Expected, UserClaims, UserIdentity};
use crate::client::EntraClient;
use crate::secret::Secret;
use crate::token_rules::{TokenRejection, TokenRules, TokenSource};

/// Maximum length of a token in bytes. Tokens of Entra are shorter.
const MAX_TOKEN_LENGTH: usize = 64 * 1024;

/// Validates tokens with the keys of the client's tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenValidator {
    client: EntraClient,
    rules: TokenRules,
    expected: Expected,
}

/// A header whose members are all strings, as in Entra's tokens. Callers can send any header, and `jsonwebtoken`
/// parses unknown members as `serde_json::Value`, in which nested text would overflow the stack.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
    #[serde(flatten)]
    _others: BTreeMap<String, String>,
}

impl TokenValidator {
    /// Creates a validator with the keys, issuer, audience, tenant and clock of `client`.
    pub fn new(client: EntraClient, rules: TokenRules) -> Self {
        let settings = client.settings();
        let expected = Expected {
            issuer: settings.issuer(),
            audience: settings.client_id().to_owned(),
            tenant_id: settings.tenant_id().to_owned(),
        };
        Self {
            client,
            rules,
            expected,
        }
    }

    /// Validates an access token for this application.
    pub async fn validate(&self, token: &Secret) -> Result<UserClaims, TokenRejection> {
        let claims = self.verify(token).await?;
        claims.user(&self.expected, &self.rules, self.client.now())
    }

    /// Validates the id token of a login. `nonce` is that of the authorize request.
    pub async fn validate_id_token(
        &self,
        token: &Secret,
        nonce: &str,
    ) -> Result<UserIdentity, TokenRejection> {
        let claims = self.verify(token).await?;
        claims.identity(&self.expected, nonce, self.client.now())
    }

    /// Checks algorithm, key and signature. Does not check the claims.
    async fn verify(&self, token: &Secret) -> Result<Claims, TokenRejection> {
        let token = token.expose();
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenRejection::Malformed);
        }
        let kid = key_id(token)?;
        let pauses = match self.rules.source {
            TokenSource::Callers => Pauses::Respected,
            TokenSource::Entra => Pauses::Ignored,
        };
        let keys = self
            .client
            .signing_keys(&kid, pauses)
            .await
            .map_err(TokenRejection::KeysUnavailable)?;
        let key = keys.get(&kid).ok_or(TokenRejection::UnknownKey)?;
        let verified = jsonwebtoken::decode::<Claims>(token, key, &signature_only()).map_err(|error| {
            match error.kind() {
                ErrorKind::InvalidSignature => TokenRejection::Signature,
                ErrorKind::InvalidAlgorithm => TokenRejection::Algorithm,
                _ => TokenRejection::Malformed,
            }
        })?;
        Ok(verified.claims)
    }
}

/// Returns the `kid` of a token that names RS256. The header is not verified; it chooses among trusted keys only.
fn key_id(token: &str) -> Result<String, TokenRejection> {
    let encoded = token.split('.').next().unwrap_or_default();
    let decoded = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| TokenRejection::Malformed)?;
    let header: Header = serde_json::from_slice(&decoded).map_err(|_| TokenRejection::Malformed)?;
    if header.alg != "RS256" {
        return Err(TokenRejection::Algorithm);
    }
    // RFC 7515, section 4.1.11: what is critical and not understood makes the token invalid.
    if header.crit.is_some() {
        return Err(TokenRejection::Malformed);
    }
    header.kid.ok_or(TokenRejection::Malformed)
}

/// `jsonwebtoken` checks the signature; the claims are checked here, against an injected clock.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("e30")]
    #[case("!!.e30.x")]
    #[case("bnVsbA.e30.x")]
    fn refuses_a_token_without_a_valid_header(#[case] token: &str) {
        assert!(matches!(key_id(token), Err(TokenRejection::Malformed)));
    }

    #[rstest]
    #[case(r#"{"alg":"none","kid":"k"}"#, "Algorithm")]
    #[case(r#"{"alg":"HS256","kid":"k"}"#, "Algorithm")]
    #[case(r#"{"alg":"RS512","kid":"k"}"#, "Algorithm")]
    #[case(r#"{"alg":"PS256","kid":"k"}"#, "Algorithm")]
    #[case(r#"{"alg":"RS256"}"#, "Malformed")]
    #[case(r#"{"alg":"RS256","kid":"k","crit":["exp"]}"#, "Malformed")]
    #[case(r#"{"alg":"RS256","alg":"none","kid":"k"}"#, "Malformed")]
    #[case(
        r#"{"alg":"RS256","kid":"k","x":{"$serde_json::private::RawValue":"1"}}"#,
        "Malformed"
    )]
    #[case(r#"{"alg":"RS256","kid":"k","jwk":{"kty":"RSA","n":"","e":""}}"#, "Malformed")]
    fn refuses_every_other_algorithm(#[case] header: &str, #[case] rejection: &str) {
        let token = format!("{}.e30.x", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(format!("{:?}", key_id(&token).unwrap_err()), rejection);
    }
}
