//! A digest of several texts.

use sha2::{Digest as _, Sha256};

/// Returns SHA-256 over `parts`. The length of each part, in 8 bytes, precedes it, so that no two lists give the same bytes.
/// Stores and sealed values contain such digests: the form never changes.
pub fn digest_of_parts<T: AsRef<[u8]>>(parts: &[T]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts.iter().map(AsRef::as_ref) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_follows_its_length_in_eight_bytes() {
        let bytes = b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\x01c";
        assert_eq!(
            digest_of_parts(&["ab", "c"]),
            <[u8; 32]>::from(Sha256::digest(bytes))
        );
        assert_ne!(digest_of_parts(&["ab", "c"]), digest_of_parts(&["a", "bc"]));
    }
}
