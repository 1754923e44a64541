//! No pause of all watches after an error of one.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// A backoff that does not wait. Each watch waits by itself after its errors. The controller would wait in addition, and poll
/// none of the watches meanwhile: an API server that restarts breaks all of them, one error each, and the waits added up to minutes
/// in which no edit was seen.
#[derive(Debug)]
pub(super) struct NoPause;

impl Iterator for NoPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for NoPause {
    fn reset(&mut self) {}
}
