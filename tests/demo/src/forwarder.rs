//! Starts and ends the process that serves the loopback ports after `make demo` has ended.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::DemoError;
use crate::environment::Layout;
use crate::forward::Way;

/// Maximum time until the forwarder answers on each port, and until it ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// The forwarder's process id, start time and log, in the demo's folder.
struct Files {
    pid: PathBuf,
    log: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self {
            pid: folder.join("forwarder.pid"),
            log: folder.join("forwarder.log"),
        }
    }
}

/// Starts the forwarder as a process of its own, so that the demo's addresses outlive the command that
/// started it. One that runs already is replaced: it may belong to a cluster that is gone.
pub(super) async fn start(
    folder: &Path,
    layout: &Layout,
    kubeconfig: &Path,
    way: Way,
) -> Result<(), DemoError> {
    stop(folder)?;
    let files = Files::of(folder);
    let at = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DemoError::File { action, path, source }
    };
    let log = File::create(&files.log).map_err(at("create", &files.log))?;
    let errors = log.try_clone().map_err(at("open", &files.log))?;
    let program = std::env::current_exe().map_err(at("find", Path::new("this program")))?;
    let mut child = Command::new(&program)
        .arg("forward")
        .args((way == Way::Direct).then_some("--direct"))
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0) // Ctrl-C at the terminal must not end it
        .spawn()
        .map_err(at("start", &program))?;
    fs::write(&files.pid, child.id().to_string()).map_err(at("write", &files.pid))?;

    let ports = layout.forwards().iter().map(|forward| forward.local).collect();
    if answers(&mut child, ports).await {
        return Ok(());
    }
    Err(DemoError::Forwarder(files.log))
}

/// Whether every port answers while the forwarder lives: another program may serve a port.
async fn answers(forwarder: &mut Child, ports: Vec<u16>) -> bool {
    let open = async {
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        // A forwarder that cannot bind a port ends within this time, with a message in its log.
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    tokio::time::timeout(PATIENCE, open).await.is_ok() && matches!(forwarder.try_wait(), Ok(None))
}

/// Ends the forwarder that this folder knows of; that there is none is fine.
pub(super) fn stop(folder: &Path) -> Result<(), DemoError> {
    let files = Files::of(folder);
    let Ok(text) = fs::read_to_string(&files.pid) else {
        return Ok(());
    };
    let pid: u32 = text.trim().parse().unwrap_or_default();
    if is_forwarder(pid) {
        let at = |source| DemoError::File {
            action: "end the forwarder of",
            path: files.pid.clone(),
            source,
        };
        Command::new("kill").arg(pid.to_string()).status().map_err(at)?;
        let end = Instant::now() + PATIENCE;
        while !has_ended(pid) {
            if Instant::now() > end {
                return Err(DemoError::ForwarderRuns(pid));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    fs::remove_file(&files.pid).map_err(|source| DemoError::File {
        action: "remove",
        path: files.pid,
        source,
    })
}

/// Whether this process is still the forwarder, and not another one that got its number.
fn is_forwarder(pid: u32) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let mut words = command.split(|byte| *byte == 0);
    words
        .next()
        .is_some_and(|program| program.ends_with(b"behalf-demo"))
        && words.next() == Some(b"forward")
}

/// Whether this process is gone, or is a zombie. Its ports are free only then: the command line of a process
/// that ends is empty a moment before its sockets are closed.
fn has_ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // The name before the state is in parentheses and may contain parentheses.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes().first());
    matches!(state, Some(Some(b'Z' | b'X')))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn run(program: &str) -> Child {
        let mut command = Command::new(program);
        command.arg("60").stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().expect("a process")
    }

    #[tokio::test]
    async fn a_forwarder_that_ended_does_not_answer_through_another_ones_ports() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = other.local_addr().expect("an address").port();

        let mut ended = run("false");
        assert!(!answers(&mut ended, vec![port]).await);

        let mut lives = run("sleep");
        assert!(answers(&mut lives, vec![port]).await);
        lives.kill().expect("it lives");
        lives.wait().expect("it ends");
    }

    #[test]
    fn a_process_has_ended_if_it_is_a_zombie_or_missing() {
        let mut child = run("sleep");
        assert!(!has_ended(child.id()));
        child.kill().expect("it lives");
        // The parent has not waited for the child, so the child is a zombie, like the forwarder of an earlier command.
        let end = Instant::now() + PATIENCE;
        while !has_ended(child.id()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(has_ended(child.id()));
        child.wait().expect("it ends");
        assert!(has_ended(child.id()));
    }
}
