//! Reads mounted files, and reads them again when they may have changed.

use std::error::Error;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// Maximum number of bytes that are read from a file. The files that the operator writes are much smaller.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Why a mounted file cannot be used. An administrator must act on the Secret that contains it.
#[derive(Debug, thiserror::Error)]
pub enum MountedFileError {
    /// The file is missing, or this user may not read it.
    #[error("failed to read the {what} {}; check that its Secret is mounted", path.display())]
    Unreadable {
        /// Name of the file, for example `keyring`.
        what: &'static str,

        /// Path from the configuration.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: io::Error,
    },

    /// The content is not what this version reads.
    #[error("the {what} {} cannot be used; {next_step}", path.display())]
    Unusable {
        /// Name of the file, for example `keyring`.
        what: &'static str,

        /// Next step of an administrator.
        next_step: &'static str,

        /// Path from the configuration.
        path: PathBuf,

        /// Error of the parser.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The parsed content of a mounted file.
pub(crate) trait MountedContent: Sized {
    /// Name of the file in errors.
    const WHAT: &'static str;

    /// Next step of an administrator when the file cannot be parsed.
    const NEXT_STEP: &'static str;

    /// Parses the content of the file.
    fn parse(bytes: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>>;
}

/// A mounted file, and its content when it was usable last.
pub(crate) struct MountedFile<C> {
    path: PathBuf,
    loaded: RwLock<LoadedFile<C>>,
}

struct LoadedFile<C> {
    digest: [u8; 32],
    content: Arc<C>,
}

impl<C: MountedContent> MountedFile<C> {
    /// Reads the file.
    pub(crate) fn load(path: impl Into<PathBuf>) -> Result<Self, MountedFileError> {
        let path = path.into();
        let bytes = read::<C>(&path)?;
        let loaded = LoadedFile::parse(&path, &bytes)?;
        Ok(Self {
            path,
            loaded: RwLock::new(loaded),
        })
    }

    /// Reads the file again. Returns its content if it changed. When the file is unusable, the content that was loaded
    /// before stays.
    pub(crate) fn reload(&self) -> Result<Option<Arc<C>>, MountedFileError> {
        let bytes = read::<C>(&self.path)?;
        if self.loaded.read().unwrap_or_else(PoisonError::into_inner).digest == digest(&bytes) {
            return Ok(None);
        }
        let loaded = LoadedFile::parse(&self.path, &bytes)?;
        let content = Arc::clone(&loaded.content);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(Some(content))
    }

    /// The content when it was usable last.
    pub(crate) fn content(&self) -> Arc<C> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&loaded.content)
    }

    /// The SHA-256 digest of the file when it was usable last.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).digest
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl<C: MountedContent> LoadedFile<C> {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, MountedFileError> {
        let content = C::parse(bytes).map_err(|source| MountedFileError::Unusable {
            what: C::WHAT,
            next_step: C::NEXT_STEP,
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            digest: digest(bytes),
            content: Arc::new(content),
        })
    }
}

/// Reads a file of a mounted volume. The volume is small and local, so that this blocks no other task.
fn read<C: MountedContent>(path: &Path) -> Result<Vec<u8>, MountedFileError> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| MountedFileError::Unreadable {
        what: C::WHAT,
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// Identifies the content of a file.
fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Calls `reload` at every `interval`, until the future is dropped. The kubelet replaces a mounted file through a
/// symbolic link, which file notifications miss. After a failure `complaint` is logged once, until `reload` succeeds again.
pub(crate) async fn follow(
    interval: Duration,
    complaint: &str,
    mut reload: impl FnMut() -> Result<(), MountedFileError>,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut healthy = true;
    loop {
        ticks.tick().await;
        match reload() {
            Ok(()) => healthy = true,
            Err(error) if healthy => {
                healthy = false;
                let error: &dyn Error = &error;
                tracing::error!(error, "{complaint}");
            }
            Err(_) => {}
        }
    }
}
