//! Takes the demo down.

use std::path::Path;

use super::place::Place;
use super::{DemoError, Progress, forwarder};
use crate::environment::{self, Layout};
use behalf_local_cluster::cluster::{self, Kind};

/// Removes every trace: the forwarder, the cluster (or, on a foreign cluster, everything that the demo
/// put there), and the demo's folder. Where a demo was brought up counts for more than the requested `kind`:
/// only there is something to remove.
pub fn down(
    layout: &Layout,
    kind: Option<Kind>,
    folder: &Path,
    progress: &Progress,
) -> Result<(), DemoError> {
    let known = Place::read(folder);
    let kind = cluster::choose(known.as_ref().and_then(Place::kind).or(kind));
    match kind {
        Kind::Local | Kind::Kind => {
            progress.line("port forwarder");
            forwarder::stop(folder)?;
            progress.line(&format!("cluster {}", layout.cluster));
            cluster::down(&layout.cluster, kind)?;
        }
        Kind::Current => {
            let options = cluster::Options {
                name: layout.cluster.clone(),
                kind,
                nodes: 1,
                progress: progress.steps(),
            };
            let cluster = cluster::up(&options)?;
            if known.is_some_and(|known| !known.is(&cluster)) {
                return Err(DemoError::OtherCluster);
            }
            progress.line("port forwarder");
            forwarder::stop(folder)?;
            progress.line("what the demo installed on the current cluster");
            environment::remove(&cluster)?;
        }
    }
    Place::forget(folder)
}
