//! The error of the first step of a reconcile.

use std::time::Duration;

use crate::controller::watches::UnreadableCache;

/// An object that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    /// The API server did not return the object.
    #[error("failed to read {kind} {name}")]
    Request {
        /// The object's kind.
        kind: &'static str,

        /// The object's name.
        name: String,

        /// Answer of the API server, or error of the connection to it.
        #[source]
        source: Box<kube::Error>,
    },

    /// The API server did not answer in time.
    #[error("failed to read {what} within {} s: the API server does not answer", limit.as_secs())]
    TimedOut {
        /// The object that was read.
        what: &'static str,

        /// The time that it was given.
        limit: Duration,
    },

    /// An object in a cache could not be parsed.
    #[error(transparent)]
    Cache(#[from] UnreadableCache),

    /// A cache stays unfilled because the operator lacks a right. Contains the text of [`Stores::refused_watch`](crate::controller::watches::Stores::refused_watch).
    #[error("{0}")]
    RefusedWatch(String),

    /// A watch ended for good, as it does when the operator stops.
    #[error("failed to read the caches: the operator is stopping")]
    Stopping,
}
