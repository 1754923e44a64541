//! The host key: proof that a request comes from this Pod's sidecar.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Minimum length of a key in bytes. An empty file must not match an empty header.
const MIN_KEY_LENGTH: usize = 32;

/// Maximum size of the file in bytes. A larger file is not the host key.
const MAX_FILE_BYTES: u64 = 4 * 1024;

/// Why the host key cannot be used. An administrator who can see the Pod must act.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file is missing, or the process must not read it.
    #[error(
        "failed to read the host key {}: the auth sidecar writes it before this container starts, so check \
         that both containers mount the same in-memory volume", path.display()
    )]
    Unreadable {
        /// Path from `hostKeyFile` of the configuration.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The file has the size of no host key.
    #[error("the host key {} is shorter than {MIN_KEY_LENGTH} or longer than {MAX_FILE_BYTES} bytes: restart the Pod", path.display())]
    Size {
        /// Path from `hostKeyFile` of the configuration.
        path: PathBuf,
    },
}

/// The host key of this Pod.
pub struct HostKey {
    path: PathBuf,
    /// The content of the file, which may end with a line break.
    current: RwLock<Zeroizing<Vec<u8>>>,
}

impl HostKey {
    /// Reads the key that the sidecar wrote.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, HostKeyError> {
        let path = path.into();
        let current = RwLock::new(read(&path)?);
        Ok(Self { path, current })
    }

    /// Returns true if `presented` is the host key. The comparison takes constant time. A key that does not match is
    /// compared with the file once more: a sidecar replaces a damaged file.
    pub(crate) fn admits(&self, presented: &[u8]) -> bool {
        if self.matches(presented) {
            return true;
        }
        match read(&self.path) {
            Ok(key) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = key;
                self.matches(presented)
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Unable to read the host key again: {error}"
                );
                false
            }
        }
    }

    fn matches(&self, presented: &[u8]) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.trim_ascii().ct_eq(presented).into()
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HostKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, HostKeyError> {
    use std::io::Read as _;
    let unreadable = |source| HostKeyError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // The volume is in memory, so the read does not block.
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // A buffer that grows leaves copies of the key in memory.
    let mut key = Zeroizing::new(Vec::with_capacity(256));
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut key)
        .map_err(unreadable)?;
    if key.trim_ascii().len() < MIN_KEY_LENGTH || key.len() as u64 > MAX_FILE_BYTES {
        return Err(HostKeyError::Size {
            path: path.to_owned(),
        });
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const NEXT: &str = "fedcba9876543210fedcba9876543210";

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn admits_only_the_host_key() {
        let file = file(&format!("{KEY}\n"));
        let key = HostKey::load(file.path()).unwrap();
        assert!(key.admits(KEY.as_bytes()));
        for wrong in [NEXT, "", &KEY[..31], "0123456789abcdef0123456789abcdef0"] {
            assert!(!key.admits(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn admits_the_key_of_a_restarted_sidecar_and_not_the_old_one() {
        let file = file(KEY);
        let key = HostKey::load(file.path()).unwrap();
        std::fs::write(file.path(), NEXT).unwrap();
        assert!(key.admits(NEXT.as_bytes()));
        assert!(!key.admits(KEY.as_bytes()));
    }

    #[test]
    fn an_empty_or_short_file_is_no_key() {
        for content in ["", "\n", "short"] {
            assert!(
                matches!(
                    HostKey::load(file(content).path()),
                    Err(HostKeyError::Size { .. })
                ),
                "{content:?}"
            );
        }
    }

    #[test]
    fn an_emptied_file_admits_no_request() {
        let file = file(KEY);
        let key = HostKey::load(file.path()).unwrap();
        std::fs::write(file.path(), "").unwrap();
        assert!(!key.admits(b""));
        // The key in force stays in force.
        assert!(key.admits(KEY.as_bytes()));
    }

    #[test]
    fn the_error_of_a_missing_file_names_the_container_that_writes_it() {
        let error = HostKey::load("/nonexistent/host-key").unwrap_err();
        assert!(error.to_string().contains("auth sidecar writes it"), "{error}");
    }

    #[test]
    fn debug_shows_no_key() {
        let file = file(KEY);
        assert!(!format!("{:?}", HostKey::load(file.path()).unwrap()).contains(KEY));
    }
}
