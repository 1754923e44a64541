//! Metrics, events and traces of the operator.

pub mod api_requests;
pub mod events;
pub mod metrics;
pub mod reconcile_result;
pub mod traces;
