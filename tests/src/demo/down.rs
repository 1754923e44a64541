use std::fs;
use std::path::Path;

use super::{DemoError, Progress, forwarder};
use crate::cluster::{self, Kind};
use crate::environment::{self, Layout};

/// Removes every trace: the forwarder, the cluster (or, on somebody else's cluster, everything that the demo
/// put there), and the demo's folder.
pub fn down(
    layout: &Layout,
    kind: Option<Kind>,
    folder: &Path,
    progress: &Progress,
) -> Result<(), DemoError> {
    let kind = cluster::choose(kind);
    progress.line("port forwarder");
    forwarder::stop(folder)?;
    match kind {
        Kind::Local | Kind::Kind => {
            progress.line(&format!("cluster {}", layout.cluster));
            cluster::down(&layout.cluster, kind)?;
        }
        Kind::Current => {
            progress.line("what the demo installed on the current cluster");
            let options = cluster::Options {
                kind,
                ..cluster::Options::new(layout.cluster.clone())
            };
            environment::remove(&cluster::up(&options)?)?;
        }
    }
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(DemoError::File {
            action: "remove",
            path: folder.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
