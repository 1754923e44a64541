//! Finds the kubeconfig of the running demo's cluster.

use std::path::{Path, PathBuf};

use super::DemoError;
use super::place::Place;
use crate::environment::Layout;
use behalf_local_cluster::cluster;

/// The kubeconfig of the demo that runs, wherever it was brought up.
pub fn kubeconfig(layout: &Layout, folder: &Path) -> Result<PathBuf, DemoError> {
    let known = Place::read(folder).ok_or(DemoError::NotRunning)?;
    let kind = known.kind().ok_or(DemoError::NotRunning)?;
    let cluster = cluster::open(&layout.cluster, kind)?;
    if !known.is(&cluster) {
        return Err(DemoError::OtherCluster);
    }
    Ok(cluster.kubeconfig().to_owned())
}
