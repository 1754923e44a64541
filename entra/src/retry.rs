//! Retries of requests that failed temporarily.

use std::time::Duration;

use crate::error::EntraError;

/// Number and pace of the tries of one request.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Maximum number of tries, including the first.
    pub attempts: u32,

    /// Pause before the second try, without jitter. It doubles for each further try.
    pub base: Duration,

    /// Longest pause. A longer `Retry-After` ends the tries, because a user waits.
    pub longest: Duration,

    /// Time limit for all tries and pauses together.
    pub total: Duration,

    /// Source of the jitter: returns a number from 0 to 1.
    pub random: fn() -> f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_millis(250),
            longest: Duration::from_secs(3),
            total: Duration::from_secs(15),
            random: random_fraction,
        }
    }
}

impl RetryPolicy {
    /// Runs `operation` until it succeeds, fails permanently, or the policy's limits are reached. `repeatable`
    /// returns false for a transient error after which the request must not be sent again.
    pub(crate) async fn run<T, F>(
        &self,
        operation: impl Fn() -> F,
        repeatable: impl Fn(&EntraError) -> bool,
    ) -> Result<T, EntraError>
    where
        F: Future<Output = Result<T, EntraError>>,
    {
        let tries = async {
            let mut attempt = 1;
            loop {
                let error = match operation().await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                if !error.is_transient() || !repeatable(&error) {
                    return Err(error);
                }
                let Some(pause) = self.pause(attempt, error.retry_after()) else {
                    return Err(error);
                };
                tracing::warn!(
                    entra.attempt = attempt,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "Trying Entra again: {error}"
                );
                tokio::time::sleep(pause).await;
                attempt += 1;
            }
        };
        tokio::time::timeout(self.total, tries)
            .await
            .unwrap_or(Err(EntraError::TimedOut))
    }

    /// Returns the pause after try number `attempt`, or `None` after the last one. It is never shorter than
    /// `Retry-After`.
    fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts || retry_after.is_some_and(|asked| asked > self.longest) {
            return None;
        }
        let step = self
            .base
            .saturating_mul(1 << (attempt - 1).min(16))
            .min(self.longest);
        let jitter = (self.random)().clamp(0.0, 1.0);
        Some(match retry_after {
            Some(asked) => asked + self.base.mul_f64(jitter),
            None => step.mul_f64(0.5 + jitter / 2.0),
        })
    }
}

/// Returns a number from 0 to 1. If the system has no randomness, all pauses have the same length.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rstest::rstest;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 3,
        base: Duration::from_millis(200),
        longest: Duration::from_secs(3),
        total: Duration::from_secs(15),
        random: || 1.0,
    };

    const AT_ONCE: RetryPolicy = RetryPolicy {
        base: Duration::ZERO,
        ..POLICY
    };

    fn busy() -> EntraError {
        EntraError::Unavailable {
            status: 503,
            retry_after: None,
        }
    }

    #[rstest]
    #[case(1, None, Some(200))]
    #[case(2, None, Some(400))]
    #[case(3, None, None)]
    #[case(1, Some(2_000), Some(2_200))]
    #[case(1, Some(3_000), Some(3_200))]
    #[case(1, Some(3_001), None)]
    #[case(1, Some(0), Some(200))]
    #[case(3, Some(0), None)]
    fn the_pause_follows_retry_after_and_is_capped(
        #[case] attempt: u32,
        #[case] asked: Option<u64>,
        #[case] expected: Option<u64>,
    ) {
        let pause = POLICY.pause(attempt, asked.map(Duration::from_millis));
        assert_eq!(pause, expected.map(Duration::from_millis));
    }

    #[test]
    fn jitter_spreads_over_half_of_the_pause() {
        let least = RetryPolicy {
            random: || 0.0,
            ..POLICY
        };
        assert_eq!(least.pause(1, None), Some(Duration::from_millis(100)));
        let mad = RetryPolicy {
            random: || f64::INFINITY,
            ..POLICY
        };
        assert_eq!(mad.pause(1, None), Some(Duration::from_millis(200)));
    }

    #[test]
    fn a_later_pause_is_capped() {
        let patient = RetryPolicy {
            attempts: u32::MAX,
            ..POLICY
        };
        assert_eq!(patient.pause(40, None), Some(Duration::from_secs(3)));
    }

    #[tokio::test]
    async fn tries_three_times() {
        let tries = Cell::new(0);
        let fail = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(busy())
        };
        let result = AT_ONCE.run(fail, |_| true).await;
        assert!(matches!(result, Err(EntraError::Unavailable { status: 503, .. })));
        assert_eq!(tries.get(), 3);
    }

    #[tokio::test]
    async fn an_unrepeatable_or_final_error_ends_the_tries() {
        let tries = Cell::new(0);
        let busy = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(busy())
        };
        assert!(AT_ONCE.run(busy, |_| false).await.is_err());
        assert_eq!(tries.get(), 1);
        let malformed = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(EntraError::Malformed {
                status: 200,
                what: "x",
            })
        };
        assert!(AT_ONCE.run(malformed, |_| true).await.is_err());
        assert_eq!(tries.get(), 2);
    }

    #[tokio::test]
    async fn all_tries_together_have_a_time_limit() {
        let impatient = RetryPolicy {
            total: Duration::ZERO,
            ..POLICY
        };
        let result = impatient
            .run(std::future::pending::<Result<(), _>>, |_| true)
            .await;
        assert!(matches!(result, Err(EntraError::TimedOut)));
    }
}
