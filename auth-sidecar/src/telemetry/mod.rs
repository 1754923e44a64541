//! Metrics of the sidecar.

pub mod metrics;
