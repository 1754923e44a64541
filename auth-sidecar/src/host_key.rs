//! The host key proves to the server that a request came through this sidecar.
//!
//! The key is in a file on an in-memory volume, which the server mounts read-only. The volume lives as long as
//! the Pod. A sidecar that restarts uses the key in the file, because the server may have read the file before.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::base64url::is_base64url_of;

/// Length of the key in bytes. 256 random bits cannot be guessed.
const BYTES: usize = 32;

/// Length of [`BYTES`] in base64url without padding.
const CHARACTERS: usize = 43;

/// Mode of the file. The sidecar owns it, and the server reads it through the Pod's `fsGroup`.
const MODE: u32 = 0o440;

/// The host key of this Pod, as text.
#[derive(Clone)]
pub struct HostKey(Zeroizing<String>);

/// Why the host key cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The volume is missing, read-only or full.
    #[error("failed to write the host key {}: mount an in-memory volume there that this user may write", path.display())]
    Write {
        /// Path from `hostKeyFile` of the configuration.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The file exists and cannot be read.
    #[error("failed to read the host key {}: give the volume to this user or its fsGroup", path.display())]
    Read {
        /// Path from `hostKeyFile` of the configuration.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

impl HostKey {
    /// Creates a key from random bytes.
    pub fn from_random(random: &[u8; BYTES]) -> Self {
        Self(Zeroizing::new(BASE64URL.encode(random)))
    }

    /// Returns the key in the file, which an earlier run of this container wrote. If there is none, creates a key
    /// from `random` and writes it.
    pub fn establish(path: &Path, random: &[u8; BYTES]) -> Result<Self, HostKeyError> {
        if let Some(existing) = Self::read(path)? {
            return Ok(existing);
        }
        let key = Self::from_random(random);
        key.write(path).map_err(|source| HostKeyError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(key)
    }

    /// Returns the value of `X-Behalf-Host-Key`. `Debug` does not show it.
    pub fn header_value(&self) -> HeaderValue {
        // 43 characters of base64url are always a header value; an empty one is refused by the server.
        let mut value = HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    fn read(path: &Path) -> Result<Option<Self>, HostKeyError> {
        let unreadable = |source| HostKeyError::Read {
            path: path.to_owned(),
            source,
        };
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut bytes = Vec::with_capacity(CHARACTERS + 1);
        file.take(CHARACTERS as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        // A file with other content is not a host key, and is replaced.
        Ok(is_base64url_of(BYTES, &bytes)
            .then(|| Self(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))))
    }

    /// Writes a temporary file and renames it, so that the server never reads a half-written key.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&temporary)?;
        // The umask may have removed the group's right.
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        file.write_all(self.0.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HostKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_contains_the_header_value_and_only_owner_and_group_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host-key");
        let key = HostKey::establish(&path, &[7; 32]).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written.as_bytes(), key.header_value().as_bytes());
        assert_eq!(written.len(), CHARACTERS);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_restarted_container_keeps_the_key_of_its_pod() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host-key");
        let first = HostKey::establish(&path, &[1; 32]).unwrap();
        let second = HostKey::establish(&path, &[2; 32]).unwrap();
        assert_eq!(first.header_value(), second.header_value());
    }

    #[test]
    fn a_file_without_a_valid_key_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host-key");
        for content in [
            String::new(),
            "short".to_owned(),
            "A".repeat(44),
            "\n".repeat(43),
            "é".repeat(22),
        ] {
            let _ = fs::remove_file(&path);
            fs::write(&path, &content).unwrap();
            let key = HostKey::establish(&path, &[3; 32]).unwrap();
            assert_eq!(
                key.header_value(),
                HostKey::from_random(&[3; 32]).header_value(),
                "{content:?}"
            );
        }
    }

    #[test]
    fn a_crash_between_write_and_rename_does_not_stop_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host-key");
        fs::write(folder.path().join("host-key.new"), "half").unwrap();
        assert!(HostKey::establish(&path, &[4; 32]).is_ok());
    }

    #[test]
    fn the_error_names_the_path_of_a_missing_volume() {
        let error = HostKey::establish(Path::new("/nonexistent/host-key"), &[0; 32]).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/host-key"));
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = HostKey::from_random(&[5; 32]);
        assert_eq!(
            format!("{key:?} {:?}", key.header_value()),
            "HostKey(..) Sensitive"
        );
    }
}
