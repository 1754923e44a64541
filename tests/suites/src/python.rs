//! Installs Python packages at pinned versions into the cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use behalf_local_cluster::files::{ContentName, FileError, cache, checkout, create_directory, write};
use behalf_local_cluster::{Call, CommandError};

/// Maximum duration of an installation. pip downloads a few dozen packages.
const INSTALL_LIMIT: Duration = Duration::from_mins(5);

/// The reason why the packages are not installed.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// The pinned versions cannot be read, or the cache cannot be written.
    #[error("failed to create a Python environment in the cache")]
    File(#[from] FileError),

    /// Python or pip failed.
    #[error("failed to install Python packages")]
    Install(#[from] CommandError),
}

/// An environment with the packages that `requirements.txt` of a folder pins.
#[derive(Debug, Clone)]
pub struct Environment {
    source: PathBuf,
    folder: PathBuf,
}

impl Environment {
    /// Installs the packages of the folder, which is named from the root of the checkout. Later calls find them there.
    pub fn install(folder: &str) -> Result<Self, PythonError> {
        let source = checkout().join(folder);
        let requirements = source.join("requirements.txt");
        let purpose = source.file_name().unwrap_or_default();
        let folder = cache()
            .join("python")
            .join(purpose)
            .join(ContentName::default().file(&requirements)?.finish());
        let environment = Self { source, folder };
        let installed = environment.folder.join("installed");
        if !installed.exists() {
            create_directory(&environment.folder)?;
            let venv = Call::new("python3").args(["-m", "venv", "--clear"]);
            venv.arg(&environment.folder).limit(INSTALL_LIMIT).run()?;
            Call::new(environment.program())
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(["--no-deps", "--requirement"])
                .arg(&requirements)
                .limit(INSTALL_LIMIT)
                .run()?;
            write(&installed, "")?;
        }
        Ok(environment)
    }

    /// Python with the packages.
    pub fn program(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// The folder with the packages. Python of another version, for example of Debian, can read it if the first two numbers
    /// of its version are the same.
    pub fn packages(&self) -> Result<PathBuf, PythonError> {
        let print = "import sysconfig; print(sysconfig.get_path('platlib'))";
        let folder = Call::new(self.program()).args(["-c", print]).text()?;
        Ok(PathBuf::from(folder.trim()))
    }

    /// The path of a file of the source folder.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.source.join(name)
    }
}
