//! One renewal at a time for each session, across replicas.
//!
//! Before a replica asks Entra, it writes an entry for the session. Another replica that finds the entry waits for the
//! new tokens in the session's record. No replica relies on the entry for more than saving requests: if it expires too early,
//! two renewals happen, and the record keeps the longer-lived token.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::later;
use crate::session_id::SessionId;
use crate::store::{SessionStore, StoreError, StoreKey, Written};

/// A replica that dies during a renewal delays the others for at most this long. One request to Entra with its
/// retries takes at most as long.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

/// How often a waiting replica looks for the result.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Maximum number of looks at the record: longer than a lease, so that a dead replica's lease ends meanwhile.
pub(super) const MOST_LOOKS: u32 = 200;

/// True if this replica may renew the session's tokens now. The lease ends by [`release`], or by itself.
///
/// # Errors
/// [`StoreError::Unreachable`].
pub(super) async fn acquire(
    store: &dyn SessionStore,
    id: SessionId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    match store
        .put(&StoreKey::Renewal(id), 0, Vec::new(), later(now, LEASE))
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
    if let Err(error) = store.take(&StoreKey::Renewal(id)).await {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(error, session.id = %id, "Unable to release the renewal of session {id}");
    }
}
