//! The audit log, the metrics and the traces of the sidecar.

pub(crate) mod audit;
pub mod metrics;
pub(crate) mod request_cause;
pub mod security_event;
pub(crate) mod traces;
