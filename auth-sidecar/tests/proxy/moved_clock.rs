//! A clock that tests can advance.

use std::sync::atomic::{AtomicI64, Ordering};

use behalf_entra::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};

/// The machine's clock plus the seconds that a test added.
#[derive(Debug, Default)]
pub(crate) struct MovedClock(AtomicI64);

impl MovedClock {
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }
}
