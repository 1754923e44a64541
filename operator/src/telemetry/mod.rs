//! What the operator reports about itself: metrics and Kubernetes events.

pub mod events;
pub mod metrics;
