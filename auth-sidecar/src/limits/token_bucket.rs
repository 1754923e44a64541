//! A budget of requests that refills with time (token bucket).

use jiff::Timestamp;

/// The capacity of a budget, and how fast it refills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Maximum number of requests at once.
    pub(crate) burst: f64,

    /// Requests that are added per second.
    pub(crate) per_second: f64,
}

/// The rest of a budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    tokens: f64,
    filled_at: Timestamp,
}

impl TokenBucket {
    /// Creates a budget that nothing was charged to.
    pub(super) fn full(rate: Rate, now: Timestamp) -> Self {
        Self {
            tokens: rate.burst,
            filled_at: now,
        }
    }

    /// Returns the number of requests that the budget admits now.
    pub(super) fn tokens(&self, rate: Rate, now: Timestamp) -> f64 {
        // When the clock goes back, the budget stays as it is.
        let elapsed = now.duration_since(self.filled_at).as_secs_f64().max(0.0);
        elapsed.mul_add(rate.per_second, self.tokens).min(rate.burst)
    }

    /// Charges one request.
    pub(super) fn charge(&mut self, rate: Rate, now: Timestamp) {
        self.tokens = (self.tokens(rate, now) - 1.0).max(0.0);
        self.filled_at = now;
    }

    /// Takes back a charge.
    pub(super) fn refund(&mut self, rate: Rate) {
        self.tokens = (self.tokens + 1.0).min(rate.burst);
    }
}
