//! PKCE (RFC 7636), S256 only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use behalf_entra::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base64url::is_base64url_of;
use crate::random::{Random, random_bytes};

/// Length of a SHA-256 in bytes.
const CHALLENGE_LENGTH: usize = 32;

/// Creates a verifier of 256 random bits, for the sidecar's own login at Entra.
pub(super) fn new_verifier(random: &dyn Random) -> Secret {
    Secret::new(BASE64URL.encode(random_bytes::<32>(random)))
}

/// Returns the S256 challenge of a verifier.
pub(crate) fn challenge(verifier: &Secret) -> String {
    BASE64URL.encode(Sha256::digest(verifier.expose()))
}

/// True for a text with the form of an S256 challenge.
pub(super) fn is_challenge(text: &str) -> bool {
    is_base64url_of(CHALLENGE_LENGTH, text)
}

/// True for a text with the form of a verifier (RFC 7636, section 4.1).
pub(crate) fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// True when `expected` is the challenge of `verifier`. The comparison takes constant time.
pub(crate) fn verify(verifier: &Secret, expected: &str) -> bool {
    is_verifier(verifier.expose()) && challenge(verifier).as_bytes().ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn accepts_the_example_of_the_rfc() {
        assert!(is_challenge(CHALLENGE));
        assert!(verify(&Secret::new(VERIFIER), CHALLENGE));
    }

    #[test]
    fn refuses_another_verifier_and_the_challenge_itself() {
        for verifier in [
            CHALLENGE,
            "",
            "short",
            &VERIFIER.replace('d', "e"),
            &"a".repeat(129),
        ] {
            assert!(!verify(&Secret::new(verifier), CHALLENGE), "{verifier}");
        }
        // The method `plain` would accept this.
        assert!(!verify(&Secret::new(VERIFIER), VERIFIER));
    }

    #[test]
    fn our_own_verifiers_are_well_formed_and_differ() {
        let [one, other] = [(); 2].map(|()| new_verifier(&SystemRandom));
        assert!(is_verifier(one.expose()));
        assert!(is_challenge(&challenge(&one)));
        assert_ne!(one, other);
    }
}
