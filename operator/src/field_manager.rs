//! The name under which the operator writes objects.

/// The operator's field manager. Events and the label `app.kubernetes.io/managed-by` have the same name.
pub const FIELD_MANAGER: &str = "behalf-operator";
