//! The default memory limit of the sidecar's container.

/// The limit as a quantity of Kubernetes. The operator sets it unless the spec names another. The sidecar's memory budgets
/// are below it together; a test of the sidecar adds them up.
pub const SIDECAR_MEMORY_LIMIT: &str = "1Gi";
