//! The cluster's binaries: built once from the Go module in `tests/local-cluster/components`, and kept by content.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{Call, CommandError};
use crate::files::{self, ContentName, FileError};
use crate::prerequisites::{self, PrerequisiteError};
use crate::progress::Progress;

/// Number of builds that are kept: the current one, and one for another branch of the checkout.
const KEPT: usize = 2;

/// The files that decide what is built.
const SOURCES: &[&str] = &["go.mod", "go.sum", "main.go", "node/main.go", "pause/main.go"];

/// The variables in which Kubernetes keeps the version that it reports.
const VERSION_PACKAGE: &str = "k8s.io/component-base/version";

/// The cluster's binaries could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// The Go toolchain is missing.
    #[error(transparent)]
    Prerequisite(#[from] PrerequisiteError),

    /// The module does not name its Kubernetes version.
    #[error("{} names no k8s.io/kubernetes version: restore the file", .0.display())]
    Version(PathBuf),

    /// The compiler refused.
    #[error("failed to build the cluster's binaries from tests/local-cluster/components")]
    Build(#[source] CommandError),

    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The binaries of one build.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    directory: PathBuf,
}

impl Toolchain {
    /// The binaries in this folder.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The folder that holds them.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every component of Kubernetes.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.directory.join("behalf-cluster")
    }

    /// The clients among them.
    pub(crate) fn clients(&self) -> Clients {
        Clients {
            kubectl: self.directory.join("kubectl"),
            helm: self.directory.join("helm"),
        }
    }

    /// The first process of each node.
    pub(crate) fn node(&self) -> PathBuf {
        self.directory.join("behalf-node")
    }

    /// The first process of each Pod.
    pub(crate) fn pause(&self) -> PathBuf {
        self.directory.join("pause")
    }
}

/// The programs that talk to a cluster.
#[derive(Debug, Clone)]
pub struct Clients {
    kubectl: PathBuf,
    helm: PathBuf,
}

impl Clients {
    /// The path of `kubectl`.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// The path of `helm`.
    pub fn helm(&self) -> &Path {
        &self.helm
    }

    /// A call of kubectl with this kubeconfig.
    pub(crate) fn call_kubectl(&self, kubeconfig: &Path) -> Call {
        call(&self.kubectl, kubeconfig)
    }

    /// A call of helm with this kubeconfig.
    pub(crate) fn call_helm(&self, kubeconfig: &Path) -> Call {
        call(&self.helm, kubeconfig)
    }
}

/// Maximum run time of kubectl and helm. The longest calls wait for a rollout, or for the deletion of a
/// namespace.
const CLIENT_LIMIT: Duration = Duration::from_mins(4);

/// The clients keep their discovery of an API in our cache, and leave no file in the user's home.
fn call(client: &Path, kubeconfig: &Path) -> Call {
    Call::new(client)
        .limit(CLIENT_LIMIT)
        .env("KUBECACHEDIR", files::cache().join("kubectl"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
}

/// The clients for a cluster that needs none of the other binaries: the installed ones if there are
/// both, else ours.
pub(crate) fn clients(progress: &Progress, in_use: fn() -> Vec<PathBuf>) -> Result<Clients, ToolchainError> {
    match prerequisites::find("kubectl").zip(prerequisites::find("helm")) {
        Some((kubectl, helm)) => Ok(Clients { kubectl, helm }),
        None => Ok(ensure(progress, in_use)?.clients()),
    }
}

/// Returns the binaries of this checkout's module, and builds them if they are missing.
/// The first build takes five to ten minutes on two cores, a changed `main.go` one minute.
/// Builds in the folders of `in_use` are never removed as old.
pub(crate) fn ensure(progress: &Progress, in_use: fn() -> Vec<PathBuf>) -> Result<Toolchain, ToolchainError> {
    let module = module();
    let version = kubernetes_version(&module)?;
    let name = SOURCES
        .iter()
        .try_fold(
            ContentName::default().text(std::env::consts::ARCH),
            |name, file| name.file(&module.join(file)),
        )?
        .finish();
    let home = files::cache().join("cluster");
    let directory = home.join(name);
    if directory.is_dir() {
        files::touch(&directory);
        return Ok(Toolchain { directory });
    }
    prerequisites::ensure_go()?;
    // Two checkouts with the same module share one build. The lock makes the second one wait for it.
    let lock = files::lock(&home.join("build.lock"))?;
    if !directory.is_dir() {
        progress.step("build Kubernetes from source (up to 10 minutes, once)", || {
            build(&module, &version, &directory)
        })?;
        trim(&home, &in_use());
    }
    drop(lock);
    Ok(Toolchain { directory })
}

/// The folder of the Go module.
pub(crate) fn module() -> PathBuf {
    files::checkout().join("tests/local-cluster/components")
}

/// The Kubernetes version of the module, such as `v1.34.4`.
pub(crate) fn kubernetes_version(module: &Path) -> Result<String, ToolchainError> {
    let path = module.join("go.mod");
    files::read(&path)?
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes ").map(str::to_owned))
        .ok_or(ToolchainError::Version(path))
}

fn build(module: &Path, version: &str, directory: &Path) -> Result<(), ToolchainError> {
    let unfinished = directory.with_extension("unfinished");
    files::remove_directory(&unfinished)?;
    files::create_directory(&unfinished)?;
    if let Err(error) = compile(module, version, &unfinished) {
        files::remove_directory(&unfinished)?;
        return Err(error);
    }
    fs::rename(&unfinished, directory).map_err(FileError::at("create", directory))?;
    Ok(())
}

fn compile(module: &Path, version: &str, directory: &Path) -> Result<(), ToolchainError> {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Without these flags the API server and kubeadm report version v0.0.0.
    let kubernetes = format!(
        "-s -w -X {VERSION_PACKAGE}.gitVersion={version} -X {VERSION_PACKAGE}.gitMajor={major} -X {VERSION_PACKAGE}.gitMinor={minor}"
    );
    let builds = [
        ("behalf-cluster", kubernetes.as_str(), "."),
        ("helm", "-s -w", "helm.sh/helm/v3/cmd/helm"),
        ("behalf-node", "-s -w", "./node"),
        ("pause", "-s -w", "./pause"),
    ];
    for (binary, flags, package) in builds {
        Call::new("go")
            .args(["build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o"])
            .arg(directory.join(binary))
            .arg(package)
            .directory(module)
            .env("CGO_ENABLED", "0")
            .run()
            .map_err(ToolchainError::Build)?;
    }
    let link = directory.join("kubectl");
    std::os::unix::fs::symlink("behalf-cluster", &link).map_err(FileError::at("create", &link))?;
    Ok(())
}

/// Removes old builds, except those that a cluster still runs from.
fn trim(home: &Path, used: &[PathBuf]) {
    let old = files::newest_first(home)
        .into_iter()
        .filter(|path| path.is_dir())
        .skip(KEPT);
    for directory in old.filter(|directory| !used.contains(directory)) {
        if let Err(error) = files::remove_directory(&directory) {
            tracing::warn!("Unable to remove an old build: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_the_module() {
        let version = kubernetes_version(&module()).unwrap();
        assert!(version.starts_with("v1."), "{version}");
    }
}
