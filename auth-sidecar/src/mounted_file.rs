//! Reads mounted files, and reads them again when they may have changed.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// Maximum number of bytes that are read from a file. The files that the operator writes are much smaller.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Reads a file of a mounted volume. The volume is small and local, so that this blocks no other task.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Identifies the content of a file.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
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
