//! The reasons why the operator refuses an object.

use std::fmt;

use behalf_contract::Reason;

/// One reason why the operator refuses an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field has an unusable value.
    #[error("{field} {problem}")]
    Field {
        /// The field below `spec`, or `metadata.name`.
        field: &'static str,

        /// The problem and its fix.
        problem: String,
    },

    /// An older object names the same `publicUrl`.
    #[error(
        "publicUrl belongs to McpServer {namespace}/{name}, which is older; give this object another one, or delete that object"
    )]
    PublicUrlTaken {
        /// The other object's namespace.
        namespace: String,

        /// The other object's name.
        name: String,
    },

    /// The referenced `ConfigMap` or its key does not exist.
    #[error(
        "{field} names the key {key} of ConfigMap {name}, which does not exist in this namespace; create it"
    )]
    CertificateAuthorityNotFound {
        /// The field that names it.
        field: &'static str,

        /// The `ConfigMap`.
        name: String,

        /// The key of the bundle in the `ConfigMap`.
        key: String,
    },

    /// The referenced bundle contains no certificate.
    #[error(
        "the key {key} of ConfigMap {name} contains no PEM certificate; put the certificate authorities into it"
    )]
    CertificateAuthorityInvalid {
        /// The `ConfigMap`.
        name: String,

        /// The key of the bundle in the `ConfigMap`.
        key: String,
    },

    /// The given `ServiceAccount` does not exist.
    #[error(
        "entra.federation.serviceAccountName names ServiceAccount {name}, which does not exist in this namespace; create it, or remove the field: the operator then creates one"
    )]
    ServiceAccountNotFound {
        /// Name of the missing `ServiceAccount`.
        name: String,
    },

    /// The object may not use the given `ServiceAccount`.
    #[error("entra.federation.serviceAccountName names ServiceAccount {name}, {why}")]
    ServiceAccountNotShared {
        /// Name of the given `ServiceAccount`.
        name: String,

        /// The reason, and its fix.
        why: NotShared,
    },

    /// The keyring cannot be read. The operator never replaces it, because that would end every session.
    #[error(
        "Secret {name} is damaged ({problem}); restore it, or delete it: the operator then creates a new one, and every session ends"
    )]
    KeyringDamaged {
        /// Name of the Secret.
        name: String,

        /// The error of the parser. It quotes no key.
        problem: String,
    },

    /// An object with a child's name exists and has another owner.
    #[error(
        "{kind} {name} exists and does not belong to this object; delete or rename it, or give this object another name{}",
        restoring(kind)
    )]
    NameTaken {
        /// The kind of the object in the way.
        kind: &'static str,

        /// The name of the object in the way.
        name: String,
    },

    /// The API server refused a child that was built from the spec.
    #[error("the API server refuses {kind} {name}: {message}")]
    ChildRejected {
        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,

        /// The API server's message.
        message: String,
    },

    /// Admission or a quota of the cluster refused a child.
    #[error(
        "the cluster does not admit {kind} {name}: {message}; change this object, or have an administrator change the quota or policy: the operator tries again by itself"
    )]
    ChildDenied {
        /// The child's kind.
        kind: &'static str,

        /// The child's name.
        name: String,

        /// The API server's message.
        message: String,
    },
}

/// Why an object may not use a `ServiceAccount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShared {
    /// Its annotation does not list the object.
    #[error(
        "which is not shared with this object; have its owner share it with: {command}; or remove the field: the operator then creates one"
    )]
    NotListed {
        /// The command that shares it, for a POSIX shell. It contains only names.
        command: String,
    },

    /// Another object controls it.
    #[error(
        "which is controlled by {kind} {owner}; name another one, or remove the field: the operator then creates one"
    )]
    Controlled {
        /// The controlling object's kind.
        kind: String,

        /// The controlling object's name.
        owner: String,
    },

    /// It is in the operator's own namespace, where a shared one could be the operator's.
    #[error(
        "but in the operator's own namespace no ServiceAccount can be shared; remove the field, or create this object in another namespace"
    )]
    OperatorNamespace,
}

/// Returns, for the Secret of a keyring, which page describes its restore.
fn restoring(kind: &str) -> &'static str {
    match kind {
        "Secret" => "; to restore a keyring from a backup, see docs/keys.md",
        _ => "",
    }
}

impl Refusal {
    /// The condition's reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Field { .. } => Reason::InvalidSpec,
            Self::PublicUrlTaken { .. } => Reason::PublicUrlTaken,
            Self::CertificateAuthorityNotFound { .. } => Reason::CertificateAuthorityNotFound,
            Self::CertificateAuthorityInvalid { .. } => Reason::CertificateAuthorityInvalid,
            Self::ServiceAccountNotFound { .. } => Reason::ServiceAccountNotFound,
            Self::ServiceAccountNotShared { .. } => Reason::ServiceAccountNotShared,
            Self::KeyringDamaged { .. } => Reason::KeyringDamaged,
            Self::NameTaken { .. } => Reason::NameTaken,
            Self::ChildRejected { .. } | Self::ChildDenied { .. } => Reason::ChildRejected,
        }
    }

    /// Returns whether this object must be edited. Other refusals end when somebody creates, deletes or
    /// corrects another object.
    pub fn needs_edit(&self) -> bool {
        matches!(
            self,
            Self::Field { .. }
                | Self::PublicUrlTaken { .. }
                | Self::ChildRejected { .. }
                | Self::ServiceAccountNotShared {
                    why: NotShared::Controlled { .. } | NotShared::OperatorNamespace,
                    ..
                }
        )
    }
}

/// At least one [`Refusal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Nothing when the list is empty.
    pub fn new(refusals: Vec<Refusal>) -> Option<Self> {
        (!refusals.is_empty()).then_some(Self(refusals))
    }

    /// A single one.
    pub fn one(refusal: Refusal) -> Self {
        Self(vec![refusal])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter()
    }

    /// The reason of the first that needs an edit, else of the first.
    pub fn reason(&self) -> Reason {
        let first = self
            .0
            .iter()
            .find(|refusal| refusal.needs_edit())
            .or_else(|| self.0.first());
        first.map_or(Reason::InvalidSpec, Refusal::reason)
    }

    /// Whether this object must be edited.
    pub fn need_edit(&self) -> bool {
        self.0.iter().any(Refusal::needs_edit)
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, refusal) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            write!(formatter, "{refusal}")?;
        }
        Ok(())
    }
}
