//! The rules for the keyring Secret.

use behalf_contract::{Keyring, ObjectIdentity};
use kube::ResourceExt as _;

use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::names;
use crate::controller::plan::KeyringPlan;
use crate::controller::validate::refusal::Refusal;

/// Returns whether the keyring is kept, adopted or made. If a Pod reports its key, the Secret was read only for a step of its
/// rotation. If it is missing then, it is not made again as long as Pods have its keys.
///
/// A Secret without an owner is adopted if its type and label are those of this object's keyring: a restore from a backup
/// creates it so. It needs no further mark by the person who restores it. Creating such a Secret needs the right to
/// write Secrets in the namespace, with which the keyring can be replaced anyway. A user who may only delete and create
/// the object can leave its own keyring without an owner (`--cascade=orphan`), and has its keys used again by the
/// same name in the same namespace: an edit of the object gives that user as much.
pub(in crate::controller::validate) fn keyring(
    object: &ObjectIdentity,
    uid: &str,
    found: &ClusterState,
    refusals: &mut Vec<Refusal>,
) -> Option<KeyringPlan> {
    let secret = match (&found.keyring, &found.key_in_use) {
        (Some(secret), _) => secret,
        (None, Some(sealing)) => {
            return Some(KeyringPlan::Keep {
                sealing: sealing.clone(),
            });
        }
        (None, None) => return Some(KeyringPlan::Create),
    };
    let name = names::keyring_secret(&object.name);
    let owner = names::controller_uid(&secret.metadata);
    let is_own = match owner {
        Some(owner) => owner == uid,
        None => {
            secret.type_.as_deref() == Some(names::KEYRING_TYPE)
                && secret.labels().get(names::SERVER_LABEL) == Some(&object.name)
        }
    };
    if !is_own {
        refusals.push(Refusal::NameTaken { kind: "Secret", name });
        return None;
    }
    let file = secret.data.as_ref().and_then(|data| data.get(names::KEYRING_KEY));
    match Keyring::parse(file.map_or(b"".as_slice(), |bytes| bytes.0.as_slice())) {
        Ok(keyring) => {
            let sealing = keyring.sessions.sealing;
            Some(match owner {
                Some(_) => KeyringPlan::Keep { sealing },
                None => KeyringPlan::Adopt { sealing },
            })
        }
        Err(error) => {
            refusals.push(Refusal::KeyringDamaged {
                name,
                problem: error.to_string(),
            });
            None
        }
    }
}
