//! Errors of Redis as errors of a session store.

use std::sync::Arc;

use crate::store::StoreError;

/// No answer from Redis, or an answer that is no answer to the command.
pub(super) fn unreachable(error: ::redis::RedisError) -> StoreError {
    StoreError::Unreachable(Arc::new(error))
}

/// An entry that this program did not write.
pub(super) fn foreign(error: ::redis::RedisError) -> StoreError {
    StoreError::Foreign(Arc::new(error))
}
