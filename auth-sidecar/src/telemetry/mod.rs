//! What the sidecar reports about itself.

pub mod metrics;
