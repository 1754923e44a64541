//! Validation of tokens that Entra issued for this application.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::claims::{Claims, Expected, UserClaims, UserIdentity};
use crate::client::EntraClient;
use crate::error::EntraError;
use crate::reason::SignInReason;
use crate::secret::Secret;

/// Maximum length of a token in bytes. Tokens of Entra are shorter.
const LARGEST: usize = 64 * 1024;

/// Why a token is refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenRejection {
    /// The text is not a JSON Web Token with the claims of Entra.
    #[error("the token is not a JSON Web Token of Entra")]
    Malformed,

    /// The algorithm is not RS256, with which Entra signs.
    #[error("the token is not signed with RS256")]
    Algorithm,

    /// `kid` is not among the tenant's keys.
    #[error("the token is signed with a key that the tenant does not publish")]
    UnknownKey,

    /// The signature does not match the key.
    #[error("the token's signature does not match")]
    Signature,

    /// `iss` is not the issuer of the tenant.
    #[error("the token comes from another issuer")]
    Issuer,

    /// `aud` is not this application.
    #[error("the token is for another audience")]
    Audience,

    /// `tid` is not the configured tenant.
    #[error("the token is of another tenant")]
    Tenant,

    /// `ver` is not 2.0: the application's manifest must request version 2.
    #[error("the token is not of version 2.0: set requestedAccessTokenVersion of the application to 2")]
    Version,

    /// `nbf` is in the future, beyond the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,

    /// `exp` has passed, beyond the leeway.
    #[error("the token has expired")]
    Expired,

    /// `idtyp` names an application, or `scp` is absent: the token has no user.
    #[error("the token is of an application, not of a user")]
    AppOnly,

    /// `scp` does not contain the required scope.
    #[error("the token lacks the scope {required}")]
    Scope {
        /// The scope that `scp` must contain.
        required: String,
    },

    /// `oid` is absent, because the request lacked the scope `profile`.
    #[error("the token names no user (oid)")]
    User,

    /// `azp` is not an allowed client.
    #[error("the token was issued to a client that is not allowed")]
    Client,

    /// `azpacr` is not 2.
    #[error("the token's client did not authenticate with an assertion")]
    ClientAuthentication,

    /// `nonce` of the id token is not the one of this login.
    #[error("the id token belongs to another login")]
    Nonce,

    /// The keys could not be read, so the token could not be checked: 503, not 401.
    #[error("unable to get the keys that would verify the token")]
    KeysUnavailable(#[source] EntraError),
}

impl TokenRejection {
    /// True if the token could not be checked for lack of keys: the caller answers 503, not 401.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::KeysUnavailable(_))
    }

    /// Returns the reason if the application's registration makes Entra issue such tokens to every user.
    pub fn sign_in_reason(&self) -> Option<SignInReason> {
        match self {
            Self::Version | Self::Audience | Self::Scope { .. } => Some(SignInReason::AppMisconfigured),
            _ => None,
        }
    }
}

/// Requirements for an access token beyond tenant, issuer and audience, which follow from the client's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Scope that `scp` must contain.
    pub required_scope: String,

    /// Values allowed for `azp`. Empty allows any client.
    pub allowed_clients: Vec<String>,

    /// Requires `azpacr` to be `2`: the client proved itself with an assertion or certificate.
    pub require_client_assertion: bool,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            required_scope: "access_as_user".to_owned(),
            allowed_clients: Vec::new(),
            require_client_assertion: false,
        }
    }
}

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
        if token.len() > LARGEST {
            return Err(TokenRejection::Malformed);
        }
        let kid = key_id(token)?;
        let keys = self
            .client
            .signing_keys(&kid)
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
