//! Ids that are always the same for the same words.

use sha2::{Digest, Sha256};

/// A uuid that is always the same for the same words, so that the whole world is stable without a table.
pub(in crate::azure_devops) fn uuid_of(words: &str) -> String {
    let digest = hex(&Sha256::digest(words.as_bytes()));
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default().to_owned();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// A commit id that is always the same for the same words.
pub(in crate::azure_devops) fn commit_of(words: &str) -> String {
    hex(&Sha256::digest(words.as_bytes()))
        .get(..40)
        .unwrap_or_default()
        .to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_stable_and_well_formed() {
        assert_eq!(uuid_of("a"), uuid_of("a"));
        assert_ne!(uuid_of("a"), uuid_of("b"));
        assert_eq!(uuid_of("a").len(), 36);
    }
}
