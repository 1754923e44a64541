//! Programs that must be installed. Missing ones are installed on Debian as root.

use std::path::Path;

use crate::command::{Call, CommandError};
use crate::progress::Progress;

/// A file that must exist, and the Debian package that has it.
struct Need {
    file: &'static str,
    package: &'static str,
}

const fn need(file: &'static str, package: &'static str) -> Need {
    Need { file, package }
}

/// The version of kind that is built where none is installed.
pub(crate) const KIND_VERSION: &str = "v0.33.0";

/// The program that builds images.
const IMAGES: &[Need] = &[need("buildah", "buildah")];

/// The programs of a node, beside the project's own binary.
const NODE: &[Need] = &[
    need("containerd", "containerd"),
    need("runc", "runc"),
    need("/usr/lib/cni/bridge", "containernetworking-plugins"),
    need("iptables", "iptables"),
    need("nft", "nftables"),
    need("conntrack", "conntrack"),
    need("ethtool", "ethtool"),
    need("socat", "socat"),
    need("ip", "iproute2"),
    need("mount", "mount"),
    need("unshare", "util-linux"),
    need("nsenter", "util-linux"),
];

/// Folders that programs for root are in, even when PATH does not say so.
const FOLDERS: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A prerequisite is missing.
#[derive(Debug, thiserror::Error)]
pub enum PrerequisiteError {
    /// Packages are missing, and this machine is not Debian or the user not root.
    #[error(
        "missing: {missing}; run as root: apt-get update && apt-get install --no-install-recommends {missing}"
    )]
    Packages {
        /// The Debian packages, separated by spaces.
        missing: String,
    },

    /// The Go toolchain is missing; Debian 12 has only an older one.
    #[error("missing: go 1.25 or later; install it from https://go.dev/dl and add its bin folder to PATH")]
    Go,

    /// Docker is missing, or its daemon does not run.
    #[error("Docker does not answer `docker info`: start it, or use CLUSTER=local or CLUSTER=current")]
    Docker,

    /// kind is missing, and could not be built.
    #[error(
        "missing: kind; install it with `go install sigs.k8s.io/kind@{KIND_VERSION}` and add the bin folder of `go env GOPATH` to PATH"
    )]
    Kind(#[source] Option<CommandError>),

    /// Valkey is missing; Debian 12 has it in its backports only.
    #[error("missing: valkey-server and valkey-cli; run .ci/valkey, or install Valkey 8 and add it to PATH")]
    Valkey,

    /// The local cluster makes namespaces, links and cgroups.
    #[error("a local cluster needs root; run as root, or use CLUSTER=kind or CLUSTER=current")]
    Root,

    /// The installation failed.
    #[error("failed to install: {missing}")]
    Install {
        /// The Debian packages, separated by spaces.
        missing: String,

        /// The output of `apt-get`.
        source: CommandError,
    },
}

/// Makes sure that everything for a local cluster is there; installs what is missing on Debian as root.
pub fn ensure_local(progress: &Progress) -> Result<(), PrerequisiteError> {
    if !is_root() {
        return Err(PrerequisiteError::Root);
    }
    ensure(progress, NODE)?;
    ensure(progress, IMAGES)?;
    ensure_go()
}

/// Makes sure that images can be built without Docker.
pub fn ensure_images(progress: &Progress) -> Result<(), PrerequisiteError> {
    ensure(progress, IMAGES)
}

/// Makes sure that the cluster's binaries can be built.
pub fn ensure_go() -> Result<(), PrerequisiteError> {
    if find("go").is_some() {
        Ok(())
    } else {
        Err(PrerequisiteError::Go)
    }
}

fn ensure(progress: &Progress, needs: &[Need]) -> Result<(), PrerequisiteError> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let text = missing.join(" ");
    if !is_root() || find("apt-get").is_none() {
        return Err(PrerequisiteError::Packages { missing: text });
    }
    progress
        .step(&format!("install {text}"), || install(&missing))
        .map_err(|source| PrerequisiteError::Install {
            missing: text.clone(),
            source,
        })?;
    // On other distributions that have apt-get, a package may be installed without this file.
    if self::missing(needs).is_empty() {
        Ok(())
    } else {
        Err(PrerequisiteError::Packages { missing: text })
    }
}

fn install(packages: &[&str]) -> Result<(), CommandError> {
    // If another installation runs, apt-get waits for its lock.
    let apt = || {
        Call::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
    };
    apt().arg("update").run()?;
    apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .run()
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs
        .iter()
        .filter(|need| find(need.file).is_none())
        .map(|need| need.package)
        .collect();
    packages.dedup();
    packages
}

/// The path of a program, or of a file given by its whole path.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = FOLDERS.iter().map(Into::into);
    std::env::split_paths(&path)
        .chain(folders)
        .map(|folder| folder.join(Path::new(program)))
        .find(|candidate| candidate.is_file())
}

/// Whether this process is root, asked from the kernel.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whether a Docker daemon answers. A client alone proves nothing.
pub fn docker_answers() -> bool {
    find("docker").is_some() && Call::new("docker").arg("info").succeeds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_missing_package_once() {
        let needs = [
            need("no-such-a", "first"),
            need("sh", "dash"),
            need("no-such-b", "second"),
        ];
        assert_eq!(missing(&needs), ["first", "second"]);
    }

    #[test]
    fn finds_whole_paths() {
        assert_eq!(find("/proc/self/status").unwrap(), Path::new("/proc/self/status"));
    }
}
