//! The requirements for a token, and the reasons to refuse one.

use crate::error::EntraError;
use crate::reason::SignInReason;

/// Requirements for an access token beyond tenant, issuer and audience, which follow from the client's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Scope that `scp` must contain.
    pub required_scope: String,

    /// Values allowed for `azp`. Empty allows any client.
    pub allowed_clients: Vec<String>,

    /// The sender of the tokens.
    pub source: TokenSource,
}

/// The sender of tokens. It decides how soon a token may cause another request for Entra's keys after a failed one, or after
/// one that did not bring the token's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// Callers, which can invent tokens: only after a pause.
    Callers,

    /// Entra, in its answer to a request of this process: at once. A login does not wait for a pause that callers caused.
    Entra,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            required_scope: "access_as_user".to_owned(),
            allowed_clients: Vec::new(),
            source: TokenSource::Callers,
        }
    }
}

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
