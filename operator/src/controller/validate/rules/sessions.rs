//! The rules for lifetimes and revocations of sessions.

use behalf_contract::{Revocations, RevokedUser, SessionsConfig};
use jiff::Timestamp;

use super::{guid, refuse};
use crate::api::v1alpha1::{self as api, DurationText};
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

/// Returns the revocations with users in lower case and times in UTC.
pub(crate) fn revocations(
    revocations: Option<&api::Revocations>,
    refusals: &mut Vec<Refusal>,
) -> Option<Revocations> {
    const USERS: &str = "sessions.revocations.users";
    let Some(revocations) = revocations else {
        return Some(Revocations::default());
    };
    let refused_before = refusals.len();
    let before = revocations
        .before
        .as_ref()
        .and_then(|text| time("sessions.revocations.before", text, refusals));
    let mut users = Vec::with_capacity(revocations.users.len());
    for user in &revocations.users {
        let id = guid(USERS, &user.id, refusals);
        let before = time(USERS, &user.before, refusals);
        users.extend(id.zip(before).map(|(id, before)| RevokedUser { id, before }));
    }
    (refusals.len() == refused_before).then_some(Revocations { before, users })
}

fn time(field: &'static str, text: &str, refusals: &mut Vec<Refusal>) -> Option<Timestamp> {
    let time = text.parse().ok();
    if time.is_none() {
        refuse(refusals, field, "must name times such as 2026-11-26T09:00:00Z");
    }
    time
}
