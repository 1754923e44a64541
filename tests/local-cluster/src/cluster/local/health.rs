//! Waiting for a node, and telling what went wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::process::{NodeFiles, holders};
use crate::cluster::ClusterError;
use crate::cluster::registry::Record;
use crate::command::tail;
use crate::files;

const POLL: Duration = Duration::from_millis(150);

/// Namespaces are made in milliseconds; a refusal ends the process as fast.
const LAUNCH_TIME: Duration = Duration::from_secs(10);
const LAUNCH_POLL: Duration = Duration::from_millis(20);

/// Number of ends of a component after which the start fails: some end once or twice while the
/// things that they need are not there yet.
const TOLERATED_EXITS: u32 = 5;

/// Number of lines of a log that an error quotes.
const QUOTED_LINES: usize = 20;

/// The report of a node's first process about another one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ComponentStatus {
    /// Inside the node's namespace; 0 while it does not run.
    pub(crate) pid: u32,
    pub(crate) exits: u32,
    pub(crate) last_exit: String,
}

/// The components of a node by name; none before it started them.
pub(crate) fn components(node: &NodeFiles) -> BTreeMap<String, ComponentStatus> {
    files::read(&node.status())
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// Waits until `check` is content, as long as all nodes of the cluster live.
/// `suspect` is the component whose log explains a failure best.
pub(crate) fn wait(
    record: &Record,
    what: &str,
    suspect: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<(), String>,
) -> Result<(), ClusterError> {
    let deadline = Instant::now() + limit;
    loop {
        let Err(answer) = check() else { return Ok(()) };
        inspect(record)?;
        if Instant::now() > deadline {
            let node = NodeFiles::new(&record.directory(), 0);
            let end = end_of_log(&node, suspect);
            return Err(ClusterError::Timeout {
                what: format!("cluster `{}`: {what}", record.name),
                seconds: limit.as_secs(),
                answer,
                logs: node.logs(),
                tail: format!("\nthe end of the log of {suspect}:\n{end}"),
            });
        }
        std::thread::sleep(POLL);
    }
}

/// Finds a node that ended, or a component that cannot run.
fn inspect(record: &Record) -> Result<(), ClusterError> {
    for node in 0..record.nodes {
        let node_files = NodeFiles::new(&record.directory(), node);
        if holders(&node_files.plan()).inner.is_none() {
            return Err(ended(record, node, &node_files));
        }
        for (component, status) in components(&node_files) {
            if status.exits >= TOLERATED_EXITS {
                return Err(ClusterError::ComponentEnded {
                    tail: end_of_log(&node_files, &component),
                    log: node_files.log(&component),
                    exits: status.exits,
                    last_exit: status.last_exit,
                    component,
                });
            }
        }
    }
    Ok(())
}

/// Waits for the first process of a node that was just launched.
pub(crate) fn wait_for_holder(
    record: &Record,
    node: u8,
    node_files: &NodeFiles,
) -> Result<u32, ClusterError> {
    let deadline = Instant::now() + LAUNCH_TIME;
    loop {
        if let Some(inner) = holders(&node_files.plan()).inner {
            return Ok(inner);
        }
        if Instant::now() > deadline {
            return Err(ended(record, node, node_files));
        }
        std::thread::sleep(LAUNCH_POLL);
    }
}

/// The error for a node whose first process is gone.
pub(crate) fn ended(record: &Record, node: u8, node_files: &NodeFiles) -> ClusterError {
    ClusterError::NodeEnded {
        cluster: record.name.clone(),
        node,
        tail: end_of_log(node_files, "node"),
    }
}

fn end_of_log(node: &NodeFiles, component: &str) -> String {
    let text = files::read(&node.log(component)).unwrap_or_default();
    if text.is_empty() {
        "(empty)".to_owned()
    } else {
        tail(&text, QUOTED_LINES)
    }
}
