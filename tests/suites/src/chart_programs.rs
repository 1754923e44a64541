//! The programs of the tests of the charts.

use std::path::PathBuf;
use std::sync::OnceLock;

use behalf_local_cluster::{Call, CommandError, files};

/// Returns the path of `helm3`, `helm4`, `prometheus-syntax` or `promtool`. `.ci/charts` builds all of them once, in a few minutes.
pub fn program(name: &str) -> Result<PathBuf, CommandError> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder.join(name));
    }
    let printed = Call::new(files::checkout().join(".ci/charts")).text()?;
    let folder = FOLDER.get_or_init(|| PathBuf::from(printed.trim()));
    Ok(folder.join(name))
}
