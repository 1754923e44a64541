use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::DemoError;
use crate::environment::Layout;

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
pub(super) async fn start(folder: &Path, layout: &Layout, kubeconfig: &Path) -> Result<(), DemoError> {
    stop(folder)?;
    let files = Files::of(folder);
    let at = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DemoError::File { action, path, source }
    };
    let log = File::create(&files.log).map_err(at("create", &files.log))?;
    let errors = log.try_clone().map_err(at("open", &files.log))?;
    let program = std::env::current_exe().map_err(at("find", Path::new("this program")))?;
    let child = Command::new(&program)
        .arg("forward")
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0) // Ctrl-C at the terminal must not end it
        .spawn()
        .map_err(at("start", &program))?;
    fs::write(&files.pid, child.id().to_string()).map_err(at("write", &files.pid))?;

    for _ in 0..100 {
        let mut open = true;
        for forward in layout.forwards() {
            let address = (std::net::Ipv4Addr::LOCALHOST, forward.local);
            open &= tokio::net::TcpStream::connect(address).await.is_ok();
        }
        if open {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(DemoError::Forwarder(files.log))
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
        while is_forwarder(pid) {
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
