//! What the operator reports: metrics and events.

pub mod api_requests;
pub mod events;
pub mod metrics;
pub mod reconcile_result;
pub mod traces;
