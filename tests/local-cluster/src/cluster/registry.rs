//! The local clusters of this machine: one folder each, with a record of what must be undone.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ClusterError;
use super::addresses::{Addresses, MAX_CLUSTERS, Range};
use crate::command::{Call, CommandError};
use crate::files::{self, Lock};

/// The record of one cluster. It is written before anything is created, so that `down` can remove the rest of an
/// interrupted start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) name: String,

    /// Decides all addresses and link names.
    pub(crate) index: u8,

    /// The folder of the binaries it runs.
    pub(crate) tools: PathBuf,

    /// Number of nodes.
    pub(crate) nodes: u8,

    /// Whether its start came to its end; one that was interrupted may lack anything.
    #[serde(default)]
    pub(crate) complete: bool,
}

impl Record {
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::new(self.index)
    }

    pub(crate) fn directory(&self) -> PathBuf {
        directory(&self.name)
    }

    pub(crate) fn save(&self) -> Result<(), ClusterError> {
        let path = self.directory().join("cluster.json");
        let text = serde_json::to_vec_pretty(self).map_err(|source| ClusterError::Record {
            path: path.clone(),
            source,
        })?;
        Ok(files::write(&path, text)?)
    }
}

/// The folder of a cluster's files.
pub(crate) fn directory(name: &str) -> PathBuf {
    home().join(name)
}

fn home() -> PathBuf {
    files::cache().join("clusters")
}

/// Holds off every other start and stop on this machine: they share links, routes and this registry.
pub(crate) fn lock() -> Result<Lock, ClusterError> {
    Ok(files::lock(&files::cache().join("cluster/clusters.lock"))?)
}

/// The cluster with this name, if there is one.
pub(crate) fn load(name: &str) -> Result<Option<Record>, ClusterError> {
    let path = directory(name).join("cluster.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = files::read(&path)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| ClusterError::Record { path, source })
}

/// All clusters of this machine, by name.
pub(crate) fn all() -> Result<Vec<Record>, ClusterError> {
    let mut names: Vec<String> = fs::read_dir(home())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.iter().filter_map(|name| load(name).transpose()).collect()
}

/// Removes the cluster's folder, and the folder of clusters when it was the last.
pub(crate) fn forget(name: &str) -> Result<(), ClusterError> {
    files::remove_directory(&directory(name))?;
    // This fails while the folder contains other clusters, which is intended.
    drop(fs::remove_dir(home()));
    Ok(())
}

/// The lowest index whose addresses neither a cluster nor a route of this machine uses.
pub(crate) fn free_index() -> Result<u8, ClusterError> {
    let taken: Vec<u8> = all()?.iter().map(|record| record.index).collect();
    let routes = routes()?;
    (0..MAX_CLUSTERS)
        .find(|index| {
            let addresses = Addresses::new(*index);
            let ranges = [addresses.services(), addresses.links(), addresses.pods()];
            !taken.contains(index)
                && !routes
                    .iter()
                    .any(|route| ranges.iter().any(|range| range.overlaps(*route)))
        })
        .ok_or(ClusterError::NoAddresses)
}

/// The networks this machine has a route to, without the default route.
fn routes() -> Result<Vec<Range>, CommandError> {
    let text = Call::new("ip")
        .args(["-4", "route", "show", "table", "all"])
        .text()?;
    Ok(text.lines().filter_map(route_target).collect())
}

fn route_target(line: &str) -> Option<Range> {
    const KINDS: &[&str] = &[
        "local",
        "broadcast",
        "unicast",
        "blackhole",
        "unreachable",
        "prohibit",
    ];
    line.split_whitespace()
        .find(|word| !KINDS.contains(word))
        .and_then(Range::parse)
}

/// The folders of binaries that clusters run from.
pub(crate) fn tools_in_use() -> Vec<PathBuf> {
    all()
        .unwrap_or_default()
        .into_iter()
        .map(|record| record.tools)
        .collect()
}

/// Refuses names that would reach out of the folder of clusters.
pub(crate) fn check_name(name: &str) -> Result<(), ClusterError> {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !name.starts_with('-') && !name.ends_with('-');
    if (1..=32).contains(&name.len()) && ends && name.bytes().all(usable) {
        Ok(())
    } else {
        Err(ClusterError::Name(name.to_owned()))
    }
}

/// Refuses a cache in a folder that each node replaces by its own.
pub(crate) fn check_place(replaced: &[&str]) -> Result<(), ClusterError> {
    let cache = files::cache();
    let real = fs::canonicalize(&cache).unwrap_or_else(|_| cache.clone());
    if replaced.iter().any(|folder| real.starts_with(Path::new(folder))) {
        return Err(ClusterError::HiddenCache(cache));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_target_of_a_route() {
        let target = |line| route_target(line).map(|range| range.to_string());
        assert_eq!(
            target("10.98.0.0/24 dev behalf0 proto kernel").as_deref(),
            Some("10.98.0.0/24")
        );
        assert_eq!(
            target("local 127.0.0.1 dev lo table local").as_deref(),
            Some("127.0.0.1/32")
        );
        assert_eq!(target("default via 192.0.2.1 dev eth0"), None);
    }

    #[test]
    fn refuses_names_that_are_paths() {
        check_name("behalf-demo-1").unwrap();
        for name in ["", "..", "a/b", "A", "a-", &"a".repeat(33)] {
            check_name(name).unwrap_err();
        }
    }
}
