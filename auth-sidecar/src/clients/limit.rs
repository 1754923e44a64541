use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Lets `burst` requests pass at once and `per_second` in the long run.
pub(super) struct RateLimit {
    burst: f64,
    per_second: f64,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    filled_at: Timestamp,
}

impl RateLimit {
    pub(super) fn new(burst: f64, per_second: f64, now: Timestamp) -> Self {
        Self {
            burst,
            per_second,
            bucket: Mutex::new(Bucket {
                tokens: burst,
                filled_at: now,
            }),
        }
    }

    /// True when a request may pass now.
    pub(super) fn admit(&self, now: Timestamp) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that went back gives nothing.
        let elapsed = now.duration_since(bucket.filled_at).as_secs_f64().max(0.0);
        bucket.tokens = elapsed.mul_add(self.per_second, bucket.tokens).min(self.burst);
        bucket.filled_at = now;
        let may_pass = bucket.tokens >= 1.0;
        if may_pass {
            bucket.tokens -= 1.0;
        }
        may_pass
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Timestamp::UNIX_EPOCH;
        let limit = RateLimit::new(3.0, 0.5, start);
        assert!((0..3).all(|_| limit.admit(start)));
        assert!(!limit.admit(start));
        let later = start + SignedDuration::from_secs(2);
        assert!(limit.admit(later));
        assert!(!limit.admit(later));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let limit = RateLimit::new(1.0, 1.0, start);
        assert!(limit.admit(start));
        assert!(!limit.admit(Timestamp::UNIX_EPOCH));
    }
}
