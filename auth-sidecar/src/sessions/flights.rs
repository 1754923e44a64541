use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::identifiers::SessionId;

/// One renewal at a time for each session of this process.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<SessionId, Weak<AsyncMutex<()>>>>);

impl Flights {
    /// Waits for its turn. Whoever gets it looks first at what the one before left.
    pub(super) async fn take_off(&self, id: SessionId) -> OwnedMutexGuard<()> {
        self.runway(id).lock_owned().await
    }

    fn runway(&self, id: SessionId) -> Arc<AsyncMutex<()>> {
        let mut runways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runway) = runways.get(&id).and_then(Weak::upgrade) {
            return runway;
        }
        // The map is as large as the number of renewals under way, give or take the last few.
        runways.retain(|_, runway| runway.strong_count() > 0);
        let runway = Arc::default();
        runways.insert(id, Arc::downgrade(&runway));
        runway
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SystemRandom;

    #[tokio::test]
    async fn one_session_waits_and_another_does_not() {
        let flights = Flights::default();
        let [one, other] = [(); 2].map(|()| SessionId::generate(&SystemRandom));
        let guard = flights.take_off(one).await;
        assert!(flights.runway(one).try_lock().is_err());
        assert!(flights.runway(other).try_lock().is_ok());
        drop(guard);
        assert!(flights.runway(one).try_lock().is_ok());
    }

    #[tokio::test]
    async fn finished_flights_leave_nothing_behind() {
        let flights = Flights::default();
        for _ in 0..100 {
            drop(flights.take_off(SessionId::generate(&SystemRandom)).await);
        }
        assert!(flights.0.lock().unwrap().len() <= 1);
    }
}
