//! How long one tool call waits for the service, and how often it asks again. Pure.

use std::time::Duration;

/// A call waits no longer than this in all; the caller of the tool waits too.
pub(crate) const BUDGET: Duration = Duration::from_secs(30);

/// First try and three more.
const RETRIES: u32 = 3;

/// What one call may still wait.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    left: Duration,
    retries: u32,
}

impl Patience {
    pub(crate) fn new(budget: Duration) -> Self {
        Self {
            left: budget,
            retries: 0,
        }
    }

    /// The wait before the next try: what the service asked for, else half a second, doubled each time.
    /// `None` when that is more than is left, or when it was tried often enough.
    pub(crate) fn before_retry(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.retries >= RETRIES {
            return None;
        }
        let wait = asked.unwrap_or_else(|| Duration::from_millis(500) * 2_u32.pow(self.retries));
        let wait = self.take(wait)?;
        self.retries += 1;
        Some(wait)
    }

    /// Takes a wait out of the budget; `None` when there is not enough left.
    pub(crate) fn take(&mut self, wait: Duration) -> Option<Duration> {
        self.left = self.left.checked_sub(wait)?;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_long_as_it_is_asked_to() {
        let mut patience = Patience::new(BUDGET);
        assert_eq!(
            patience.before_retry(Some(Duration::from_secs(20))),
            Some(Duration::from_secs(20))
        );
        assert_eq!(patience.before_retry(Some(Duration::from_secs(20))), None);
    }

    #[test]
    fn backs_off_and_gives_up() {
        let mut patience = Patience::new(BUDGET);
        let waits: Vec<_> = std::iter::from_fn(|| patience.before_retry(None)).collect();
        assert_eq!(waits, [500, 1_000, 2_000].map(Duration::from_millis));
    }
}
