//! A refusal that is found after the layer admitted the request.

use std::sync::OnceLock;

use super::refusal::HopRefusal;

/// Where a tool's token leaves the refusal that replaces the tool's answer, because a tool cannot set the HTTP
/// status.
#[derive(Debug, Default)]
pub(super) struct LateRefusal(OnceLock<HopRefusal>);

impl LateRefusal {
    /// Stores `refusal`. The first one wins.
    pub(super) fn set(&self, refusal: HopRefusal) {
        let _ = self.0.set(refusal);
    }

    pub(super) fn get(&self) -> Option<&HopRefusal> {
        self.0.get()
    }
}
