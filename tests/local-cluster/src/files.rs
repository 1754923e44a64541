//! Files and folders, with errors that name the path, and the places where things are kept.

use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// A file or folder could not be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Returns a function for `map_err`: it wraps the error of an action, such as `read`, on this path.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// The folder of all files outside the checkout: `${XDG_CACHE_HOME:-$HOME/.cache}/behalf`.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/tmp"))
        .join("behalf")
}

/// The root of this checkout.
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::at("read", path))
}

/// Writes a file in one step: a reader sees the old text or the new one.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    let next = path.with_extension("next");
    let mut options = File::options();
    // Only this user may read the files, because some are kubeconfigs and private keys.
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&next).map_err(FileError::at("create", &next))?;
    io::Write::write_all(&mut file, text.as_ref()).map_err(FileError::at("write", &next))?;
    fs::rename(&next, path).map_err(FileError::at("write", path))
}

/// Creates a folder and its parents; one that exists is left alone.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(FileError::at("create", path))
}

/// Removes a folder with all it holds; that it is not there is fine.
pub(crate) fn remove_directory(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Marks a file or folder as used now. Entries that were not used for long are removed.
pub(crate) fn touch(path: &Path) {
    #[expect(clippy::disallowed_methods, reason = "a file's time is the system clock's")]
    let now = SystemTime::now();
    // The file may belong to another user or be read-only. Its time then stays as it is.
    drop(File::open(path).and_then(|file| file.set_modified(now)));
}

/// The entries of a folder, newest first; a folder that is not there has none.
pub(crate) fn newest_first(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The files of a folder, sorted by name.
pub fn files_of(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = fs::read_dir(folder).map_err(FileError::at("read", folder))?;
    let paths = entries.map(|entry| Ok(entry.map_err(FileError::at("read", folder))?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, FileError>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// A lock that another process waits for. It ends when the value is dropped, or its process.
#[must_use]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

pub(crate) fn lock(path: &Path) -> Result<Lock, FileError> {
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.map_err(FileError::at("open", path))?;
    file.lock().map_err(FileError::at("lock", path))?;
    Ok(Lock(file))
}

/// A short name for content: the first 12 hexadecimal digits of its SHA-256.
#[derive(Default)]
pub struct ContentName(Sha256);

impl ContentName {
    /// Adds a text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
        self
    }

    /// Adds the content of a file.
    pub fn file(mut self, path: &Path) -> Result<Self, FileError> {
        let content = fs::read(path).map_err(FileError::at("read", path))?;
        self.0.update(content.len().to_le_bytes());
        self.0.update(&content);
        Ok(self)
    }

    /// The name of all that was added, in this order.
    pub fn finish(self) -> String {
        let digest = self.0.finalize();
        let mut name = String::new();
        for byte in &digest[..6] {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/kubeconfig");
        write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap(), "text");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_used_file_is_the_newest() {
        let home = tempfile::tempdir().unwrap();
        let (folder, file) = (home.path().join("folder"), home.path().join("file"));
        create_directory(&folder).unwrap();
        write(&file, "").unwrap();
        for path in [&folder, &file] {
            let used = File::open(path).unwrap();
            used.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        touch(&folder);
        assert_eq!(newest_first(home.path()), [folder, file.clone()]);
        touch(&file);
        assert_eq!(newest_first(home.path())[0], file);
    }

    #[test]
    fn names_content_by_its_parts() {
        let name = |parts: &[&str]| {
            parts
                .iter()
                .fold(ContentName::default(), |name, part| name.text(part))
                .finish()
        };
        assert_eq!(name(&["a", "b"]).len(), 12);
        assert_ne!(name(&["a", "b"]), name(&["ab"]));
    }

    #[test]
    fn an_absent_folder_is_removed_and_empty() {
        let path = Path::new("/nonexistent/behalf");
        remove_directory(path).unwrap();
        assert!(newest_first(path).is_empty());
    }
}
