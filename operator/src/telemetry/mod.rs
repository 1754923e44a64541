//! The operator's metrics and Kubernetes events.

pub mod events;
pub mod metrics;
