//! Signs the claims of a token with a key that Entra never published.

use super::jwt::Unverified;
use super::keys::{KeyError, SigningKey};

/// Returns a token with the claims and the key id of `token`, signed with an unpublished key: an attacker who has seen a
/// token could make it.
pub fn forge(token: &str) -> Result<String, KeyError> {
    let Some(seen) = Unverified::parse(token) else {
        return Err(KeyError::Use(
            jsonwebtoken::errors::ErrorKind::InvalidToken.into(),
        ));
    };
    SigningKey::generate()?.sign(seen.kid.as_deref().unwrap_or_default(), &seen.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entra::IssuerFixture;

    #[tokio::test]
    async fn a_forged_token_differs_in_its_signature_alone() {
        let token = IssuerFixture::start().await.unwrap().token().unwrap();
        let forged = forge(&token).unwrap();
        let (before, after) = (
            Unverified::parse(&token).unwrap(),
            Unverified::parse(&forged).unwrap(),
        );
        assert_eq!((before.kid, before.claims), (after.kid, after.claims));
        assert_ne!(token.rsplit('.').next(), forged.rsplit('.').next());
    }

    #[test]
    fn refuses_what_is_no_token() {
        assert!(forge("not-a-token").is_err());
    }
}
