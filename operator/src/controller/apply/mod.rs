//! Writes the children, in order. It changes no object of another owner, and writes no child that is already
//! up to date.

mod immutable;
mod order;
mod revocations;
mod server_side_apply;
pub mod stored_forms;
mod unchanged;

pub use order::{apply, create_keyring, replace_keyring, suspend};
pub use revocations::{RevocationsNotWritten, put_revocations};

use super::validate::Refusal;

/// A child that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of this name exists and has another owner.
    #[error("{kind} {name} belongs to another owner")]
    Foreign {
        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,
    },

    /// The API server rejects it as invalid: the spec contains a value that only the API server can validate.
    #[error("the API server refuses {kind} {name}: {message}")]
    Rejected {
        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,

        /// The API server's message.
        message: String,
    },

    /// Admission or a quota refuses the child.
    #[error("the cluster does not admit {kind} {name}: {message}")]
    Denied {
        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,

        /// The API server's message.
        message: String,
    },

    /// An object with another content has its name and is not deleted, because it has finalizers.
    #[error("{kind} {name} has another content and is not deleted: remove its finalizers")]
    Remains {
        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,
    },

    /// The request failed.
    #[error("failed to {verb} {kind} {name}")]
    Request {
        /// The operation that failed.
        verb: &'static str,

        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,

        /// Answer of the API server, or error of the connection to it.
        #[source]
        source: Box<kube::Error>,
    },

    /// It could not be written as JSON. Only a defect of this program can cause it.
    #[error("failed to write {kind} as JSON")]
    Json {
        /// The child's kind.
        kind: &'static str,

        /// Error of the serializer.
        #[source]
        source: serde_json::Error,
    },
}

impl ApplyError {
    /// Returns the refusal that the user reads, or `None` if the operator tries again.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Foreign { kind, name } => Some(Refusal::NameTaken {
                kind,
                name: name.clone(),
            }),
            Self::Rejected { kind, name, message } => Some(Refusal::ChildRejected {
                kind,
                name: name.clone(),
                message: message.clone(),
            }),
            Self::Denied { kind, name, message } => Some(Refusal::ChildDenied {
                kind,
                name: name.clone(),
                message: message.clone(),
            }),
            Self::Remains { .. } | Self::Request { .. } | Self::Json { .. } => None,
        }
    }

    /// True if an object of the name of a new child exists.
    pub fn is_already_exists(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.is_already_exists())
    }

    /// True if another writer changed the object after it was read.
    pub fn is_conflict(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.is_conflict())
    }
}

#[cfg(test)]
mod tests;
