//! When to look again. Pure: what came before, and randomness, are arguments.

use std::time::Duration;

/// The consequence of the last observation for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All is well, or looking more often would not help: the regular interval.
    Settled,

    /// Something is broken and may be fixed at any moment: look again soon, then less and less often.
    Broken {
        /// Observations in a row that were broken, this one included.
        failures: u32,

        /// The other side asked to be left alone for so long.
        at_least: Option<Duration>,
    },
}

/// How often one thing is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The interval while settled.
    pub interval: Duration,

    /// The first pause while broken; it doubles each time.
    pub shortest: Duration,

    /// The longest pause while broken.
    pub longest: Duration,

    /// Two observations are never closer than this, whatever asks for one.
    pub gap: Duration,
}

/// Federation: five minutes, 5 to 60 s while broken.
pub const FEDERATION: Schedule = Schedule {
    interval: Duration::from_mins(5),
    shortest: Duration::from_secs(5),
    longest: Duration::from_mins(1),
    gap: Duration::from_secs(5),
};

/// Handshake: a minute, 2 to 30 s while broken.
pub const HANDSHAKE: Schedule = Schedule {
    interval: Duration::from_mins(1),
    shortest: Duration::from_secs(2),
    longest: Duration::from_secs(30),
    gap: Duration::from_secs(1),
};

/// While the server has not been seen yet, its start is waited for this closely: a Pod must not be ready
/// later because nobody looked.
pub const STARTING: Duration = Duration::from_millis(250);

/// A pause is at most this part longer or shorter than planned, so that Pods started together part.
const JITTER: f64 = 0.2;

/// Maximum gap that the other side may ask for. A fixed federation must not stay unseen for hours.
const MOST_PATIENT: Duration = Duration::from_mins(10);

impl Schedule {
    /// The pause before the next observation. `random` is any number, all equally likely.
    pub fn pause(&self, pace: Pace, random: u32) -> Duration {
        let planned = match pace {
            Pace::Settled => self.interval,
            Pace::Broken { failures, .. } => {
                let doublings = failures.saturating_sub(1).min(16);
                self.shortest.saturating_mul(1 << doublings).min(self.longest)
            }
        };
        let spread = f64::from(random) / f64::from(u32::MAX) * 2.0 - 1.0;
        let pause = planned.mul_f64(1.0 + JITTER * spread);
        match pace {
            Pace::Broken {
                at_least: Some(asked),
                ..
            } => pause.max(asked.min(MOST_PATIENT)),
            _ => pause,
        }
    }

    /// Returns the rest of the gap when an observation is wanted `elapsed` after the last one began.
    pub fn remaining_gap(&self, elapsed: Duration) -> Duration {
        self.gap.saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    fn broken(failures: u32) -> Pace {
        Pace::Broken {
            failures,
            at_least: None,
        }
    }

    #[rstest]
    #[case(Pace::Settled, 300)]
    #[case(broken(1), 5)]
    #[case(broken(2), 10)]
    #[case(broken(4), 40)]
    #[case(broken(5), 60)]
    #[case(broken(u32::MAX), 60)]
    #[case(broken(0), 5)]
    fn doubles_while_broken_up_to_the_longest(#[case] pace: Pace, #[case] seconds: u64) {
        let pause = FEDERATION.pause(pace, MIDDLE);
        assert!(
            pause.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1),
            "{pause:?}"
        );
    }

    #[test]
    fn jitter_spreads_to_both_sides_and_no_further() {
        assert_eq!(FEDERATION.pause(Pace::Settled, 0), Duration::from_mins(4));
        assert_eq!(FEDERATION.pause(Pace::Settled, u32::MAX), Duration::from_mins(6));
    }

    #[test]
    fn leaves_alone_who_asks_for_it_but_not_for_ever() {
        let asked = |seconds| Pace::Broken {
            failures: 1,
            at_least: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(FEDERATION.pause(asked(90), MIDDLE), Duration::from_secs(90));
        assert_eq!(FEDERATION.pause(asked(1), u32::MAX), Duration::from_secs(6));
        assert_eq!(FEDERATION.pause(asked(86_400), MIDDLE), MOST_PATIENT);
    }

    #[test]
    fn what_asks_often_is_served_rarely() {
        assert_eq!(
            FEDERATION.remaining_gap(Duration::from_secs(1)),
            Duration::from_secs(4)
        );
        assert_eq!(FEDERATION.remaining_gap(Duration::from_secs(400)), Duration::ZERO);
    }
}
