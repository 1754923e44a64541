//! Why something was not sealed or opened.

/// Why a sealed text does not open. It never says more than the caller needs for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a sealed text of this purpose.
    #[error("not a sealed text of this kind")]
    Malformed,

    /// Well formed, and sealed under a key that the keyring does not hold.
    #[error("sealed under a key that the keyring does not hold")]
    UnknownKey {
        /// The keyring holds a key newer than the one that seals: other replicas may know more.
        rotation_pending: bool,
    },

    /// Altered, or sealed by someone else.
    #[error("the seal does not fit")]
    Seal,
}

/// Nothing could be sealed: a defect of this project, or a text beyond AES-GCM's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to seal")]
pub struct SealError;
