//! Logins whose callback has arrived, so that a repeated callback does nothing.

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use super::error::SessionError;
use super::{Sessions, later};
use crate::random::random_bytes;
use crate::store::{StoreKey, Written};

impl Sessions {
    /// Marks an approved request as finished when its callback arrives. Returns true for the first callback.
    pub(crate) async fn finish_flow(
        &self,
        handle: &str,
        lifetime: SignedDuration,
    ) -> Result<bool, SessionError> {
        let key = StoreKey::Finished(Sha256::digest(handle).into());
        let end = later(self.clock.now(), lifetime);
        // The store tells two callbacks apart by their values.
        let value = random_bytes::<16>(self.random.as_ref()).to_vec();
        Ok(self.store.put(&key, 0, value, end).await? == Written::Stored)
    }
}
