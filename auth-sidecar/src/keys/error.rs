//! Errors of sealing and opening.

/// Why a sealed text or record does not open. It says no more than the caller needs for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The text is not a sealed text of this purpose.
    #[error("not a sealed text of this kind")]
    Malformed,

    /// The text is well formed, but the keyring does not contain its key.
    #[error("the keyring does not contain the key that sealed the text")]
    UnknownKey {
        /// True while the keyring contains a key that is newer than the sealing key. Other replicas may have
        /// keys that this process has not read yet.
        rotation_pending: bool,
    },

    /// The text was altered, or it was sealed for another object, session or secret.
    #[error("the authentication tag does not match")]
    Seal,
}

/// A value was not sealed. This is a defect of this project, or the value exceeds AES-GCM's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to seal")]
pub struct SealError;
