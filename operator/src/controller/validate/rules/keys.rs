//! The rules for the keys: where they come from, and the interval of their rotations.

use super::sessions::seconds;
use super::{object_name, refuse};
use crate::api::v1alpha1::{KEYS_SUFFIX, KeyringSecretRef, Keys, KeysType};
use crate::controller::validate::Refusal;

const DAY: u64 = 24 * 60 * 60;

/// Returns the Secret in which another tool delivers the keyring, or `None` if the operator manages the keys.
pub(crate) fn keys<'a>(keys: &'a Keys, refusals: &mut Vec<Refusal>) -> Option<&'a KeyringSecretRef> {
    match (keys.kind, &keys.managed, &keys.secret) {
        (KeysType::Managed, _, None) => {
            interval(keys, refusals);
            None
        }
        (KeysType::Secret, None, Some(secret)) => {
            secret_name(&secret.secret_ref.name, refusals);
            Some(&secret.secret_ref)
        }
        (KeysType::Secret, Some(_), _) => {
            refuse(
                refusals,
                "keys.managed",
                "must be set with keys.type Managed only",
            );
            None
        }
        (KeysType::Secret, None, None) | (KeysType::Managed, _, Some(_)) => {
            refuse(
                refusals,
                "keys.secret",
                "must be set with keys.type Secret, and only then",
            );
            None
        }
    }
}

/// Refuses an interval with which a keyring would have too many keys, or with which keys would never change.
fn interval(keys: &Keys, refusals: &mut Vec<Refusal>) {
    const FIELD: &str = "keys.managed.rotationInterval";
    if let Some(seconds) = seconds(FIELD, &keys.rotation_interval(), refusals)
        && !(7 * DAY..=366 * DAY).contains(&seconds)
    {
        refuse(
            refusals,
            FIELD,
            "must be between 168h (7 days) and 8784h (366 days)",
        );
    }
}

/// Validates the name of the Secret. The Pods of the object mount it, so the author of the Secret must have agreed. The name
/// says so, because neither the operator nor an admission policy needs to read the Secret then.
fn secret_name(name: &str, refusals: &mut Vec<Refusal>) {
    const NAME: &str = "keys.secret.secretRef.name";
    if object_name(NAME, name, refusals) && !name.ends_with(KEYS_SUFFIX) {
        refuse(
            refusals,
            NAME,
            format!(
                "must end in {KEYS_SUFFIX}: with this name the author of the Secret allows it for McpServers"
            ),
        );
    }
}
