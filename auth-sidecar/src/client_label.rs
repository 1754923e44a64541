//! The label that stands for a client that registered itself, in the audit log, the list of sessions and `clients.denied`.

use std::fmt::Write as _;

use behalf_contract::REGISTERED_CLIENT_LABEL;
use sha2::{Digest as _, Sha256};

use crate::keys::Purpose;

/// Returns the label of a registered client's id. `None` for an id of another kind, which stands for itself. The id is the
/// whole registration and works at the token endpoint; the label is a part of its digest and opens nothing.
pub(crate) fn registered_label(client_id: &str) -> Option<String> {
    registered_label_of(client_id, &Sha256::digest(client_id).into())
}

/// As [`registered_label`], for an id whose SHA-256 is known.
pub(crate) fn registered_label_of(client_id: &str, digest: &[u8; 32]) -> Option<String> {
    if !Purpose::Client.marks(client_id) {
        return None;
    }
    let mut label = REGISTERED_CLIENT_LABEL.to_owned();
    for byte in digest.iter().take(8) {
        // Writing to a String does not fail.
        let _ = write!(label, "{byte:02x}");
    }
    Some(label)
}

#[cfg(test)]
mod tests {
    use behalf_contract::is_registered_client_label;

    use super::*;

    #[test]
    fn a_registered_client_has_a_stable_label_that_is_no_client_id() {
        let sealed = format!("bhi1.k1.{}", "a".repeat(200));
        let label = registered_label(&sealed).unwrap();
        assert_eq!(Some(&label), registered_label(&sealed).as_ref());
        assert_ne!(Some(&label), registered_label(&format!("{sealed}b")).as_ref());
        assert!(is_registered_client_label(&label), "{label}");
        assert!(!sealed.contains(&label));
    }

    #[test]
    fn other_clients_have_none() {
        for id in [
            "ci",
            "https://client.example/metadata.json",
            "registered:9f86d081884c7d65",
            "",
        ] {
            assert_eq!(registered_label(id), None, "{id}");
        }
    }
}
