//! The Lease as this process saw it last, and since when it has not changed.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

/// The last version of the Lease, and when this process saw that version first.
#[derive(Default)]
pub(super) struct LastSeen {
    lease: Option<(Lease, Instant)>,
}

impl LastSeen {
    /// Records the Lease as it was read or written. The time of a version that was seen before stays.
    pub(super) fn record(&mut self, found: Option<Lease>, now: Instant) {
        let before = self.lease.take();
        self.lease = found.map(|lease| match before {
            Some((old, since)) if version(&old) == version(&lease) => (lease, since),
            _ => (lease, now),
        });
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref().map(|(lease, _)| lease)
    }

    pub(super) fn remove(&mut self) -> Option<Lease> {
        self.lease.take().map(|(lease, _)| lease)
    }

    pub(super) fn unchanged_for(&self, now: Instant) -> Duration {
        self.lease
            .as_ref()
            .map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }

    pub(super) fn holder(&self) -> &str {
        let spec = self.lease().and_then(|lease| lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default()
    }
}

fn version(lease: &Lease) -> Option<&str> {
    lease.metadata.resource_version.as_deref()
}
