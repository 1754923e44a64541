//! The error of building the children.

/// A file that could not be written as text. Only a defect of this program can cause it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A configuration file.
    #[error("failed to write {file}")]
    Configuration {
        /// Key of the file in the `ConfigMap`.
        file: &'static str,

        /// Error of the serializer.
        #[source]
        source: serde_yaml::Error,
    },

    /// The Pod template.
    #[error("failed to write the Pod template as JSON")]
    Template(#[source] serde_json::Error),

    /// The Secret of the revocations.
    #[error("failed to write the revocations")]
    Revocations(#[source] serde_json::Error),

    /// The Secret of the keyring.
    #[error("failed to write the keyring")]
    Keyring(#[source] serde_json::Error),
}
