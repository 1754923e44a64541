//! How reconciles end, as the metrics and traces name it.

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileResult {
    /// The spec is accepted and every child is applied.
    Accepted,

    /// The object is refused; its status contains the reason.
    Refused,

    /// The object changed during the reconcile, so that its status was not written.
    Stale,

    /// A step failed and is tried again.
    Failed(ReconcileStep),
}

impl ReconcileResult {
    pub(super) const LABELS: [&'static str; 4] = ["accepted", "refused", "stale", "failed"];

    /// The name in labels and traces.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Failed(_) => "failed",
        }
    }
}

/// The part of a reconcile that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileStep {
    /// Reading what the object depends on.
    Dereference,

    /// Drawing the keys of a new keyring.
    Keys,

    /// Building the children.
    Build,

    /// Writing the children.
    Apply,

    /// Writing the status.
    Status,

    /// Any step: the time limit of the reconcile has passed.
    Timeout,
}

impl ReconcileStep {
    pub(super) const ALL: [Self; 6] = [
        Self::Dereference,
        Self::Keys,
        Self::Build,
        Self::Apply,
        Self::Status,
        Self::Timeout,
    ];

    /// The name in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dereference => "dereference",
            Self::Keys => "keys",
            Self::Build => "build",
            Self::Apply => "apply",
            Self::Status => "status",
            Self::Timeout => "timeout",
        }
    }
}
