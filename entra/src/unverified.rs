//! Claims of tokens that nobody has verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use crate::secret::Secret;

/// Reads claims of a JSON Web Token **without any check** of its signature, issuer, audience or expiry.
///
/// Anybody can write such claims. Never use them for a decision about trust: [`crate::TokenValidator`] is for that. They
/// are good for a message to an administrator, for a counter, and for a token that this process received from its issuer over
/// TLS, or from a sidecar that has checked it.
///
/// Returns `None` for a text that is not a signed token, and for claims of another shape.
pub fn unverified_claims<T: DeserializeOwned>(token: &Secret) -> Option<T> {
    let mut parts = token.expose().split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_three_parts_with_json_in_the_second_are_a_token() {
        let read = |text: &str| unverified_claims::<Value>(&Secret::new(text));
        assert_eq!(read("e30.eyJhIjoxfQ.c2ln"), Some(json!({"a": 1})));
        for text in [
            "",
            "e30.eyJhIjoxfQ",
            "e30.eyJhIjoxfQ.c2ln.x",
            "e30.eyJhIjoxf.c2ln",
            "e30.!.c2ln",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
