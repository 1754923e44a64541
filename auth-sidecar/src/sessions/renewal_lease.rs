//! One renewal at a time for each session, across replicas.
//!
//! Before a replica asks Entra, it writes an entry for the session. Another replica that finds the entry waits for the
//! new tokens in the session's record. No replica relies on the entry for more than saving requests: if it expires too early,
//! two renewals happen, and the record keeps the longer-lived token.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::later;
use crate::random::{Random, random_bytes};
use crate::session_id::SessionId;
use crate::store::{SessionStore, StoreError, StoreKey, Written};

/// A replica that dies during a renewal delays the others for at most this long. Reading Entra's discovery document and
/// one request to Entra, each with its retries, take at most as long.
const LEASE: SignedDuration = SignedDuration::from_secs(35);

/// The waits of a replica until it gives up: longer together than a lease, so that the lease of a dead replica ends
/// meanwhile. They grow, because a slow Entra makes the replicas of every session wait.
pub(super) fn waits() -> impl Iterator<Item = Duration> {
    (0..30).map(|number| Duration::from_millis(100 << number.min(4)))
}

/// True if this replica may renew the session's tokens now. The lease ends by [`release`], or by itself.
///
/// # Errors
/// [`StoreError::Unreachable`].
pub(super) async fn acquire(
    store: &dyn SessionStore,
    id: SessionId,
    now: Timestamp,
    random: &dyn Random,
) -> Result<bool, StoreError> {
    // The store tells the leases of two replicas apart by their values.
    let value = random_bytes::<16>(random).to_vec();
    match store
        .put(&StoreKey::Renewal(id), 0, value, later(now, LEASE))
        .await
    {
        Ok(written) => Ok(written == Written::Stored),
        // A full store keeps the sessions that it has. Their tokens must go on being renewed.
        Err(StoreError::Full) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Lets other replicas renew the session's tokens. If the store does not answer, the lease expires by itself.
pub(super) async fn release(store: &dyn SessionStore, id: SessionId) {
    if let Err(error) = store.remove(&StoreKey::Renewal(id)).await {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(error, session.id = %id, "Unable to release the renewal of session {id}");
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::RetryPolicy;

    use super::*;

    #[test]
    fn a_lease_is_longer_than_a_renewal_that_reads_the_discovery_document_first() {
        let renewal = RetryPolicy::default().total * 2;
        assert!(LEASE > SignedDuration::try_from(renewal).unwrap());
    }

    #[test]
    fn a_replica_waits_longer_than_a_lease_with_few_looks() {
        let all: Duration = waits().sum();
        assert!(SignedDuration::try_from(all).unwrap() > LEASE, "{all:?}");
        assert_eq!(waits().next(), Some(Duration::from_millis(100)));
        assert_eq!(waits().max(), Some(Duration::from_millis(1600)));
        assert!(waits().count() <= 30);
    }
}
