//! Adds jitter to repeated work, so that objects that started together are not processed together every time.

use std::time::Duration;

/// Returns `base` shortened or lengthened by at most a fifth, depending on `random`.
pub fn spread(base: Duration, random: u32) -> Duration {
    let fifths = f64::from(random) / f64::from(u32::MAX);
    base.mul_f64(0.8 + 0.4 * fifths)
}

/// Returns a random number of the operating system. If there is none, the work has no jitter, which is
/// harmless.
pub fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_time_is_within_a_fifth() {
        let milliseconds = |random| spread(Duration::from_secs(10), random).as_millis();
        assert_eq!([0, u32::MAX].map(milliseconds), [8000, 12_000]);
        assert!((9990..=10_010).contains(&milliseconds(u32::MAX / 2)));
    }
}
