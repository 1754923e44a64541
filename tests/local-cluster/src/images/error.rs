//! Why an image could not be built or pushed.

use crate::CommandError;
use crate::files::FileError;
use crate::prerequisites::PrerequisiteError;

/// An image could not be built or pushed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Something needed is not installed.
    #[error(transparent)]
    Prerequisite(#[from] PrerequisiteError),

    /// The builder refused.
    #[error("failed to build image {name}")]
    Build {
        /// The image's name.
        name: String,

        /// The output of the builder.
        source: CommandError,
    },

    /// The registry or the network refused.
    #[error("failed to push image {reference}: check REGISTRY and the login to it")]
    Push {
        /// The target of the push.
        reference: String,

        /// The output of the builder.
        source: CommandError,
    },

    /// The base could not be put together.
    #[error(
        "failed to make a base image from Debian packages: set BASE to an image with glibc, libgcc and CA certificates"
    )]
    Base(#[source] CommandError),

    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}
