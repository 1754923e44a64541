//! An image in an archive.

use std::path::PathBuf;

/// An image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name without registry.
    pub name: String,

    /// A hash of its content.
    pub tag: String,

    /// The archive, in OCI's format or Docker's.
    pub archive: PathBuf,
}

impl Image {
    /// The name under which the archive is loaded.
    pub fn reference(&self) -> String {
        self.reference_in("behalf.local")
    }

    /// Its name in a registry, such as `registry.example/you`.
    pub fn reference_in(&self, registry: &str) -> String {
        format!("{}/{}:{}", registry.trim_end_matches('/'), self.name, self.tag)
    }
}
