//! The audit log and the metrics of the sidecar.

pub(crate) mod audit;
pub mod metrics;
