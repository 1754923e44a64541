//! The rules for lifetimes of sessions.

use behalf_contract::SessionsConfig;

use super::refuse;
use crate::api::v1alpha1::DurationText;
use crate::controller::validate::Refusal;

/// Returns a duration in seconds.
pub(crate) fn seconds(field: &'static str, text: &DurationText, refusals: &mut Vec<Refusal>) -> Option<u64> {
    let seconds = text.seconds();
    if seconds.is_none() {
        refuse(refusals, field, "must be a duration such as 90s, 15m or 1h30m");
    }
    seconds
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// Validates the lifetimes against each other.
pub(crate) fn lifetimes(sessions: &SessionsConfig, refusals: &mut Vec<Refusal>) {
    if !(MINUTE..=DAY).contains(&sessions.access_token_lifetime_seconds) {
        refuse(
            refusals,
            "sessions.accessTokenLifetime",
            "must be between 1m and 24h",
        );
    }
    if sessions.idle_lifetime_seconds < sessions.access_token_lifetime_seconds {
        refuse(
            refusals,
            "sessions.idleLifetime",
            "must not be shorter than sessions.accessTokenLifetime",
        );
    }
    if !(sessions.idle_lifetime_seconds..=366 * DAY).contains(&sessions.maximum_lifetime_seconds) {
        refuse(
            refusals,
            "sessions.maximumLifetime",
            "must be between sessions.idleLifetime and 8784h (366 days)",
        );
    }
    if sessions.refresh_grace_seconds > 10 * MINUTE {
        refuse(refusals, "sessions.refreshGrace", "must not be longer than 10m");
    }
}
