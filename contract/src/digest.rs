//! The digest of the configuration that a Pod runs with.

use std::fmt::Write as _;

/// The environment variable with the digest of the configuration that a container must start with. The operator sets
/// it in the Pod template, so that no container starts with a changed `ConfigMap`. Without it, as on a laptop, the
/// digest is not compared.
pub const VARIABLE: &str = "BEHALF_CONFIGURATION_DIGEST";

/// Returns the text form of a SHA-256: `sha256:` and 64 hexadecimal digits. The caller hashes the bytes of the
/// file exactly as they are in the `ConfigMap`.
pub fn format_sha256(hash: &[u8; 32]) -> String {
    let mut text = String::with_capacity(7 + 64);
    text.push_str("sha256:");
    for byte in hash {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_lower_case_hexadecimal_with_leading_zeros() {
        let text = super::format_sha256(&[0x0a; 32]);
        assert_eq!(text, format!("sha256:{}", "0a".repeat(32)));
    }
}
