//! The rule for refresh tokens that are presented more than once (OAuth 2.1, section 4.3.1). Pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The refresh token family of a session. It keeps only its current generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Family {
    /// The generation that was issued last.
    #[serde(rename = "g")]
    pub(super) generation: u64,

    #[serde(rename = "t", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    rotated_at: Timestamp,
}

/// The outcome for a presented refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// The token is valid. The caller stores this family and issues tokens of its generation.
    Valid(Family),

    /// The token was used before, outside the grace time. Either this caller or the earlier one stole it.
    Reused,
}

impl Family {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            generation: 1,
            rotated_at: now,
        }
    }

    /// Decides about an authentic refresh token of generation `presented`.
    pub(super) fn present(self, presented: u64, now: Timestamp, grace: SignedDuration) -> Presented {
        let next = self.generation.saturating_add(1);
        if presented == self.generation {
            return Presented::Valid(Self {
                generation: next,
                rotated_at: now,
            });
        }
        // A fail-over of the store lost the write of a generation that a client already has.
        if presented == next {
            let generation = next.saturating_add(1);
            return Presented::Valid(Self {
                generation,
                rotated_at: now,
            });
        }
        let is_previous = presented.checked_add(1) == Some(self.generation);
        let in_time = now.duration_since(self.rotated_at) < grace;
        if is_previous && in_time {
            // Nothing changes, so that many parallel refreshes of one client need one write (ADR 0018).
            return Presented::Valid(self);
        }
        Presented::Reused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: SignedDuration = SignedDuration::from_secs(120);
    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    fn good(presented: Presented) -> Family {
        match presented {
            Presented::Valid(family) => family,
            Presented::Reused => panic!("refused"),
        }
    }

    #[test]
    fn each_use_issues_the_next_generation() {
        let first = Family::new(START);
        let second = good(first.present(1, after(10), GRACE));
        let third = good(second.present(2, after(20), GRACE));
        assert_eq!((first.generation, second.generation, third.generation), (1, 2, 3));
    }

    #[test]
    fn a_replay_within_the_grace_gets_the_same_generation() {
        let family = good(Family::new(START).present(1, after(0), GRACE));
        let again = good(family.present(1, after(119), GRACE));
        assert_eq!(again.generation, 2);
        assert_eq!(good(again.present(2, after(130), GRACE)).generation, 3);
    }

    #[test]
    fn a_replay_does_not_prolong_the_grace() {
        let family = good(Family::new(START).present(1, after(0), GRACE));
        let again = good(family.present(1, after(119), GRACE));
        assert_eq!(again.present(1, after(120), GRACE), Presented::Reused);
    }

    #[test]
    fn a_replay_after_the_grace_ends_the_family() {
        let family = good(Family::new(START).present(1, after(0), GRACE));
        assert_eq!(family.present(1, after(120), GRACE), Presented::Reused);
    }

    #[test]
    fn an_older_generation_ends_the_family_at_once() {
        let family = good(Family::new(START).present(1, after(0), GRACE));
        let family = good(family.present(2, after(1), GRACE));
        assert_eq!(family.present(1, after(2), GRACE), Presented::Reused);
    }

    #[test]
    fn a_replay_changes_nothing() {
        let family = good(Family::new(START).present(1, after(0), GRACE));
        assert_eq!(good(family.present(1, after(60), GRACE)), family);
    }

    #[test]
    fn without_a_grace_there_is_no_replay() {
        let family = good(Family::new(START).present(1, after(0), SignedDuration::ZERO));
        assert_eq!(
            family.present(1, after(0), SignedDuration::ZERO),
            Presented::Reused
        );
    }

    #[test]
    fn a_generation_that_the_store_lost_is_adopted() {
        let family = good(Family::new(START).present(2, after(0), GRACE));
        assert_eq!(family.generation, 3);
        assert_eq!(Family::new(START).present(3, after(0), GRACE), Presented::Reused);
    }
}
