//! Limits how long one tool call waits for Azure DevOps, and how often it repeats requests. Does no I/O.

use std::time::Duration;

/// Maximum time that one tool call waits between its requests. The client waits for the tool as long.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Maximum number of repeated requests in one tool call.
const RETRIES: u32 = 3;

/// Wait before the first repeated request. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The time and the number of repeated requests that one tool call has left.
#[derive(Debug, Clone)]
pub(super) struct RetryBudget {
    left: Duration,
    retries: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            left: MAX_WAIT,
            retries: 0,
        }
    }
}

impl RetryBudget {
    /// Returns the wait before the next repeated request: `asked`, which the service sent, or the next step of
    /// the backoff. Returns `None` if the wait exceeds the time that is left, or after [`RETRIES`] repeated
    /// requests.
    pub(super) fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.retries >= RETRIES {
            return None;
        }
        let wait = asked.unwrap_or_else(|| FIRST_WAIT * 2_u32.pow(self.retries));
        let wait = self.spend(wait)?;
        self.retries += 1;
        Some(wait)
    }

    /// Subtracts `wait` from the time that is left. Returns `None` if less is left.
    pub(super) fn spend(&mut self, wait: Duration) -> Option<Duration> {
        self.left = self.left.checked_sub(wait)?;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_long_as_the_service_asks_within_the_budget() {
        let mut budget = RetryBudget::default();
        assert_eq!(
            budget.next_wait(Some(Duration::from_secs(20))),
            Some(Duration::from_secs(20))
        );
        assert_eq!(budget.next_wait(Some(Duration::from_secs(20))), None);
    }

    #[test]
    fn doubles_each_wait_and_gives_up_after_three() {
        let mut budget = RetryBudget::default();
        let waits: Vec<_> = std::iter::from_fn(|| budget.next_wait(None)).collect();
        assert_eq!(waits, [500, 1_000, 2_000].map(Duration::from_millis));
    }
}
