//! The rule for the interval of key rotations.

use super::refuse;
use super::sessions::seconds;
use crate::api::v1alpha1 as api;
use crate::controller::validate::Refusal;

const DAY: u64 = 24 * 60 * 60;

/// Refuses an interval with which a keyring would have too many keys, or with which keys would never change.
pub(crate) fn keys(keys: &api::Keys, refusals: &mut Vec<Refusal>) {
    const FIELD: &str = "keys.managed.rotationInterval";
    if let Some(seconds) = seconds(FIELD, &keys.managed.rotation_interval, refusals)
        && !(7 * DAY..=366 * DAY).contains(&seconds)
    {
        refuse(
            refusals,
            FIELD,
            "must be between 168h (7 days) and 8784h (366 days)",
        );
    }
}
