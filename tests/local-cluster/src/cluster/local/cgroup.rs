//! The cgroup below which a node's kubelet puts its Pods. Without one of its own, the nodes would
//! share `/kubepods` with each other and with every other Kubernetes on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::addresses::Addresses;
use crate::files::{self, FileError};

/// The name of a node's cgroup in every hierarchy: that of its link, as no other node of this machine
/// has it. Cluster names may repeat between users with caches of their own.
pub(crate) fn name(addresses: Addresses, node: u8) -> String {
    addresses.host_link(node)
}

pub(crate) fn create(name: &str) -> Result<(), FileError> {
    for root in roots() {
        let unified = root.join("cgroup.controllers");
        if unified.exists() {
            delegate(&root, &unified);
        }
        files::create_directory(&root.join(name))?;
        if unified.exists() {
            delegate(&root.join(name), &root.join(name).join("cgroup.controllers"));
        }
    }
    Ok(())
}

/// Lets the children of a version 2 group use every controller that it has. One that cannot be
/// delegated is no reason to stop: the kubelet says by itself what it lacks.
fn delegate(group: &Path, controllers: &Path) {
    let names = fs::read_to_string(controllers).unwrap_or_default();
    for controller in names.split_whitespace() {
        drop(fs::write(
            group.join("cgroup.subtree_control"),
            format!("+{controller}"),
        ));
    }
}

/// Removes the node's groups. The kernel may need a moment after the last process is gone.
pub(crate) fn remove(name: &str) -> Result<(), FileError> {
    for group in roots()
        .into_iter()
        .map(|root| root.join(name))
        .filter(|group| group.is_dir())
    {
        let mut attempts = 0;
        while let Err(error) = remove_tree(&group) {
            attempts += 1;
            if attempts == 100 {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Removes a group after its children; the files in it are the kernel's and need no removal.
fn remove_tree(group: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(group)
        .map_err(FileError::at("read", group))?
        .flatten()
    {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group).map_err(FileError::at("remove", group))
}

/// Mount points of the cgroup hierarchies: one in version 2, many in version 1.
fn roots() -> Vec<PathBuf> {
    fs::read_to_string("/proc/self/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(root)
        .collect()
}

fn root(mount: &str) -> Option<PathBuf> {
    let mut words = mount.split(' ');
    let (_, target, kind) = (words.next()?, words.next()?, words.next()?);
    matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mounts_of_both_versions() {
        assert_eq!(
            root("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0"),
            Some("/sys/fs/cgroup".into())
        );
        assert_eq!(
            root("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0"),
            Some("/sys/fs/cgroup/cpu".into())
        );
        assert_eq!(root("tmpfs /sys/fs/cgroup tmpfs rw 0 0"), None);
    }
}
