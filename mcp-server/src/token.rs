//! The token that one tool call uses at Azure DevOps, and the user that it belongs to.

use behalf_entra::{Secret, UserClaims, unverified_claims};
use behalf_runtime::digest_of_parts;
use serde::Deserialize;

/// Why there is no token. Contains the sentence for the model. [`crate::hop`] sends what the sidecar must know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoToken(pub(crate) String);

/// The source of one user's tokens for Azure DevOps.
#[async_trait::async_trait]
pub(crate) trait UserToken: Send + Sync {
    /// Returns the user whose tokens these are.
    fn user(&self) -> UserKey;

    /// Returns the token for the next request.
    async fn current(&self) -> Result<Secret, NoToken>;

    /// Returns another token after Azure DevOps refused the current one. `claims` is its claims challenge. A
    /// call renews its token at most once.
    async fn renew(&self, claims: Option<&str>) -> Result<Secret, NoToken>;

    /// Returns the error after Azure DevOps refused the renewed token, too.
    fn give_up(&self, claims: Option<String>) -> NoToken;
}

/// The key by which the server counts what one user takes of the memory for answers. It grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UserKey([u8; 32]);

/// The claims that identify a user: the object id in the tenant.
#[derive(Deserialize)]
struct UserId {
    oid: String,
    tid: String,
}

impl UserKey {
    /// The one user of a laptop.
    pub(crate) const LOCAL: Self = Self([0; 32]);

    /// Returns the key of the user that a validated token names.
    pub(crate) fn of_claims(claims: &UserClaims) -> Self {
        Self::of_id(&claims.tid, &claims.oid)
    }

    /// Returns the key of the user that a downstream token names. **The token is not validated**: it is for
    /// Azure DevOps, and only Azure DevOps can validate it. The sidecar injects it, so no client chooses its
    /// claims. A token whose claims cannot be read counts as a user of its own.
    pub(crate) fn of_unverified_token(token: &Secret) -> Self {
        match unverified_claims(token) {
            Some(UserId { oid, tid }) => Self::of_id(&tid, &oid),
            None => Self::hash(&["token", token.expose()]),
        }
    }

    fn of_id(tid: &str, oid: &str) -> Self {
        Self::hash(&["user", tid, oid])
    }

    /// Hashes `parts` with their lengths, so that no two lists have the same hash.
    fn hash(parts: &[&str]) -> Self {
        Self(digest_of_parts(parts))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(claims: &str, signature: &str) -> Secret {
        Secret::new(format!("header.{}.{signature}", URL_SAFE_NO_PAD.encode(claims)))
    }

    fn key(claims: &str, signature: &str) -> UserKey {
        UserKey::of_unverified_token(&token(claims, signature))
    }

    #[test]
    fn all_tokens_of_a_user_have_the_same_key() {
        let ana = r#"{"oid":"ana","tid":"contoso","uti":"1"}"#;
        assert_eq!(key(ana, "a"), key(r#"{"tid":"contoso","oid":"ana"}"#, "b"));
        for other in [
            r#"{"oid":"ben","tid":"contoso"}"#,
            r#"{"oid":"ana","tid":"fabrikam"}"#,
            r#"{"oid":"a","tid":"contosoan"}"#,
        ] {
            assert_ne!(key(ana, "a"), key(other, "a"), "{other}");
        }
    }

    #[test]
    fn a_token_without_readable_claims_counts_as_a_user_of_its_own() {
        for claims in ["{", r#"{"oid":"ana"}"#, r#"{"oid":7,"tid":"contoso"}"#] {
            assert_eq!(key(claims, "a"), key(claims, "a"), "{claims}");
            assert_ne!(key(claims, "a"), key(claims, "b"), "{claims}");
        }
        let opaque = |text: &str| UserKey::of_unverified_token(&Secret::new(text));
        assert_ne!(opaque("one"), opaque("two"));
    }
}
