use std::path::Path;

use super::place::Place;
use super::{DemoError, Progress, forwarder};
use crate::cluster::{self, Kind};
use crate::environment::{self, Layout};

/// Removes every trace: the forwarder, the cluster (or, on somebody else's cluster, everything that the demo
/// put there), and the demo's folder. Without a `kind`, where the demo was brought up.
pub fn down(
    layout: &Layout,
    kind: Option<Kind>,
    folder: &Path,
    progress: &Progress,
) -> Result<(), DemoError> {
    let known = Place::read(folder);
    let kind = cluster::choose(kind.or_else(|| known.as_ref().and_then(Place::kind)));
    match kind {
        Kind::Local | Kind::Kind => {
            progress.line("port forwarder");
            forwarder::stop(folder)?;
            progress.line(&format!("cluster {}", layout.cluster));
            cluster::down(&layout.cluster, kind)?;
        }
        Kind::Current => {
            let options = cluster::Options {
                kind,
                ..cluster::Options::new(layout.cluster.clone())
            };
            let cluster = cluster::up(&options)?;
            if known.is_some_and(|known| !Place::of(&cluster).is_ok_and(|here| known.admits(&here))) {
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
