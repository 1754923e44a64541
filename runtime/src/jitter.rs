//! Jitter for repeated work, so that what started together does not go on together every time.

use std::time::Duration;

/// Returns `base` shortened or lengthened by at most a fifth. `random` is a uniformly distributed number.
pub fn spread(base: Duration, random: u32) -> Duration {
    let fraction = f64::from(random) / f64::from(u32::MAX);
    base.mul_f64(0.8 + 0.4 * fraction)
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
