//! The pauses between probes. Pure: the last result and the random number are arguments.

use std::time::Duration;

use behalf_runtime::spread;

/// How soon the next probe runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// After the regular interval: the probe succeeded, or more probes would not help.
    Settled,

    /// Soon, because the fault may be fixed at any time. Each failure doubles the pause.
    Broken {
        /// Number of consecutive failed probes, including the last one.
        failures: u32,

        /// The minimum pause that the other side requested (`Retry-After`).
        at_least: Option<Duration>,
    },
}

/// The pauses of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The pause after [`Pace::Settled`].
    pub interval: Duration,

    /// The pause after the first failure. Each further failure doubles it.
    pub shortest: Duration,

    /// The maximum pause after a failure.
    pub longest: Duration,

    /// The minimum time between the starts of two probes, also for a probe that is triggered.
    pub gap: Duration,
}

/// The federation probe. Entra gets a request every five minutes, and a fix is found within a minute.
pub const FEDERATION: Schedule = Schedule {
    interval: Duration::from_mins(5),
    shortest: Duration::from_secs(5),
    longest: Duration::from_mins(1),
    gap: Duration::from_secs(5),
};

/// The handshake probe. It costs only loopback traffic, so that it runs more often.
pub const HANDSHAKE: Schedule = Schedule {
    interval: Duration::from_mins(1),
    shortest: Duration::from_secs(2),
    longest: Duration::from_secs(30),
    gap: Duration::from_secs(1),
};

/// The question for the organization's tenant, which hardly ever changes. A fix is found within ten minutes.
pub const TENANT: Schedule = Schedule {
    interval: Duration::from_hours(1),
    shortest: Duration::from_secs(10),
    longest: Duration::from_mins(10),
    gap: Duration::from_secs(10),
};

/// The pause between handshakes while the server starts. It delays the readiness of the Pod by at most this time.
pub const STARTING: Duration = Duration::from_millis(250);

/// The maximum pause that the other side can request. The fix of a federation must not stay unseen for hours.
const MAX_REQUESTED_PAUSE: Duration = Duration::from_mins(10);

impl Schedule {
    /// Returns the pause before the next probe, with jitter from `random`, a uniformly distributed number.
    pub fn pause(&self, pace: Pace, random: u32) -> Duration {
        let planned = match pace {
            Pace::Settled => self.interval,
            Pace::Broken { failures, .. } => {
                let doublings = failures.saturating_sub(1).min(16);
                self.shortest.saturating_mul(1 << doublings).min(self.longest)
            }
        };
        let pause = spread(planned, random);
        match pace {
            Pace::Broken {
                at_least: Some(asked),
                ..
            } => pause.max(asked.min(MAX_REQUESTED_PAUSE)),
            _ => pause,
        }
    }

    /// Returns the rest of the minimum gap, `elapsed` after the last probe began.
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
    fn the_pause_doubles_with_each_failure_up_to_the_longest(#[case] pace: Pace, #[case] seconds: u64) {
        let pause = FEDERATION.pause(pace, MIDDLE);
        assert!(
            pause.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1),
            "{pause:?}"
        );
    }

    #[test]
    fn jitter_lengthens_or_shortens_a_pause_by_at_most_a_fifth() {
        assert_eq!(FEDERATION.pause(Pace::Settled, 0), Duration::from_mins(4));
        assert_eq!(FEDERATION.pause(Pace::Settled, u32::MAX), Duration::from_mins(6));
    }

    #[test]
    fn a_requested_pause_is_kept_up_to_ten_minutes() {
        let asked = |seconds| Pace::Broken {
            failures: 1,
            at_least: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(FEDERATION.pause(asked(90), MIDDLE), Duration::from_secs(90));
        assert_eq!(FEDERATION.pause(asked(1), u32::MAX), Duration::from_secs(6));
        assert_eq!(FEDERATION.pause(asked(86_400), MIDDLE), MAX_REQUESTED_PAUSE);
    }

    #[test]
    fn a_triggered_probe_keeps_the_minimum_gap() {
        assert_eq!(
            FEDERATION.remaining_gap(Duration::from_secs(1)),
            Duration::from_secs(4)
        );
        assert_eq!(FEDERATION.remaining_gap(Duration::from_secs(400)), Duration::ZERO);
    }
}
