//! Reads mounted files, and reads them again when they may have changed.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// Maximum number of bytes that are read from a file. The files that the operator writes are much smaller.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The parsed content of a mounted file, and the errors of a file that cannot be used.
pub(crate) trait Content: Sized {
    type Error;

    /// The file is missing, or this user may not read it.
    fn unreadable(path: &Path, source: io::Error) -> Self::Error;

    /// Reads the content of the file.
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Self::Error>;
}

/// A mounted file, and its content when it was usable last.
pub(crate) struct MountedFile<C> {
    path: PathBuf,
    loaded: RwLock<Loaded<C>>,
}

struct Loaded<C> {
    digest: [u8; 32],
    content: Arc<C>,
}

impl<C: Content> MountedFile<C> {
    /// Reads the file.
    pub(crate) fn load(path: impl Into<PathBuf>) -> Result<Self, C::Error> {
        let path = path.into();
        let bytes = read::<C>(&path)?;
        let loaded = Loaded::parse(&path, &bytes)?;
        Ok(Self {
            path,
            loaded: RwLock::new(loaded),
        })
    }

    /// Reads the file again. Returns its content if it changed. When the file is unusable, the content that was loaded
    /// before stays.
    pub(crate) fn reload(&self) -> Result<Option<Arc<C>>, C::Error> {
        let bytes = read::<C>(&self.path)?;
        if self.loaded.read().unwrap_or_else(PoisonError::into_inner).digest == digest(&bytes) {
            return Ok(None);
        }
        let loaded = Loaded::parse(&self.path, &bytes)?;
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

impl<C: Content> Loaded<C> {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, C::Error> {
        Ok(Self {
            digest: digest(bytes),
            content: Arc::new(C::parse(path, bytes)?),
        })
    }
}

/// Reads a file of a mounted volume. The volume is small and local, so that this blocks no other task.
fn read<C: Content>(path: &Path) -> Result<Vec<u8>, C::Error> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| C::unreadable(path, source))?;
    Ok(bytes)
}

/// Identifies the content of a file.
fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Calls `reload` at every `interval`, until the future is dropped. The kubelet replaces a mounted file through a
/// symbolic link, which file notifications miss. After a failure `complaint` is logged once, until `reload` succeeds again.
pub(crate) async fn follow<E: std::error::Error + 'static>(
    interval: Duration,
    complaint: &str,
    mut reload: impl FnMut() -> Result<(), E>,
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
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "{complaint}");
            }
            Err(_) => {}
        }
    }
}
