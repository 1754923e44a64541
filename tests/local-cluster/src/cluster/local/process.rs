//! The processes that hold a node. They are found by their command line, which no other process
//! has: a start that was interrupted before it could write anything down is found as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::ClusterError;
use crate::command::{Call, CommandError};

/// Maximum time until the kernel has ended all processes of a node.
const KILL_TIME: Duration = Duration::from_secs(20);

const KILL_POLL: Duration = Duration::from_millis(20);

/// The two processes that hold a node's namespaces.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Holders {
    /// `unshare`: when it dies, the node dies.
    pub(crate) outer: Option<u32>,

    /// The first process inside; its namespaces are the node's.
    pub(crate) inner: Option<u32>,
}

/// Finds the processes of the node with this plan.
pub(crate) fn holders(plan: &Path) -> Holders {
    let plan = plan.as_os_str().as_encoded_bytes();
    let mut holders = Holders::default();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A zombie has an empty command line, so it does not count as running.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [program, path] if program.ends_with(b"/behalf-node") && *path == plan => {
                holders.inner = Some(pid);
            }
            [b"unshare", .., path] if *path == plan => holders.outer = Some(pid),
            _ => {}
        }
    }
    holders
}

/// Starts a node's first process in namespaces of its own, detached from this process and its terminal.
pub(crate) fn launch(binary: &Path, plan: &Path, log: &Path) -> Result<(), CommandError> {
    // The shell puts it in the background and ends, so that the caller never has a child to
    // wait for. Descriptors 3 to 9 could be pipes that a `make` above us waits to see closed.
    const SCRIPT: &str = r#"
log=$1; shift
setsid unshare --mount --pid --net --fork --kill-child --mount-proc -- "$@" \
    </dev/null >>"$log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
"#;
    Call::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(log)
        .arg(binary)
        .arg(plan)
        .directory(Path::new("/"))
        .run()
}

/// Kills a node: its first process, which takes everything inside along; `unshare` then ends by itself.
pub(crate) fn kill(plan: &Path) -> Result<(), ClusterError> {
    let deadline = Instant::now() + KILL_TIME;
    loop {
        let Holders { outer, inner } = holders(plan);
        let Some(pid) = inner.or(outer) else { return Ok(()) };
        // Both processes ignore SIGTERM. The result does not matter, because the process may have ended already.
        Call::new("sh")
            .args(["-c", "kill -9 \"$1\"", "sh", &pid.to_string()])
            .succeeds();
        // The first process of a pid namespace ends after all others, which hold mounts and cgroups.
        // While it ends it has no command line, so its number identifies it.
        for pid in [outer, inner].into_iter().flatten() {
            while !has_ended(pid) {
                if Instant::now() > deadline {
                    return Err(ClusterError::Unkillable(pid));
                }
                std::thread::sleep(KILL_POLL);
            }
        }
    }
}

/// Whether a process is gone, or waits for nothing but its parent.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may itself contain parentheses and spaces.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

/// A call inside the network of the node.
pub(crate) fn in_network(inner: u32, program: &str) -> Call {
    Call::new("nsenter").args(["-t", &inner.to_string(), "--net", "--", program])
}

/// A call that sees the files of the node.
pub(crate) fn in_files(inner: u32, program: &str) -> Call {
    Call::new("nsenter").args(["-t", &inner.to_string(), "--mount", "--", program])
}

/// A call among the processes of the node.
pub(crate) fn in_processes(inner: u32, program: &str) -> Call {
    Call::new("nsenter").args(["-t", &inner.to_string(), "--pid", "--", program])
}

/// The files of one node.
#[derive(Debug, Clone)]
pub(crate) struct NodeFiles {
    pub(crate) directory: PathBuf,
}

impl NodeFiles {
    pub(crate) fn new(cluster: &Path, node: u8) -> Self {
        Self {
            directory: cluster.join(format!("node-{node}")),
        }
    }

    /// The plan for the first process.
    pub(crate) fn plan(&self) -> PathBuf {
        self.directory.join("plan.json")
    }

    /// Appears when the node's network is there.
    pub(crate) fn start(&self) -> PathBuf {
        self.directory.join("start")
    }

    /// The reports of the first process about the others.
    pub(crate) fn status(&self) -> PathBuf {
        self.directory.join("status.json")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    pub(crate) fn log(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_living() {
        assert!(!has_ended(std::process::id()));
        assert!(has_ended(u32::MAX));
    }

    #[test]
    fn an_unknown_plan_has_no_processes() {
        let plan = Path::new("/nonexistent/plan.json");
        let Holders { outer, inner } = holders(plan);
        assert_eq!((outer, inner), (None, None));
        kill(plan).unwrap();
    }
}
