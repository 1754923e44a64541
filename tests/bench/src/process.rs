//! A measured program: started on its core, its CPU time and memory read from `/proc`, ended with the run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::cores::SubjectCore;
use crate::cpu_time::CpuTime;
use crate::error::{BenchError, Step as _};

/// Maximum time until a program listens.
const START: Duration = Duration::from_secs(20);

/// A running program.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program on a core, or on that of the bench. Its output goes to a file in `folder`.
    pub(crate) fn start(
        name: &str,
        core: Option<SubjectCore>,
        command: &[&str],
        folder: &Path,
    ) -> Result<Self, BenchError> {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log).step("create a log file")?;
        let errors = file.try_clone().step("open a log file")?;
        // taskset replaces itself with the program, which therefore has the id of the child.
        let taskset = core.map(|core| ["taskset".to_owned(), "--cpu-list".to_owned(), core.0.to_string()]);
        let words = taskset.iter().flatten().map(String::as_str);
        let mut words = words.chain(command.iter().copied());
        let child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .step(format_args!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Waits until the program accepts connections.
    pub(crate) async fn listens(&mut self, address: SocketAddr) -> Result<(), BenchError> {
        let end = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            let ended = self.child.try_wait().step("look at a program")?;
            if ended.is_some() || Instant::now() > end {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                return Err(BenchError::new(format!(
                    "{} does not listen on {address}; its last lines, newest first: {}",
                    self.name,
                    last.join(" | ")
                )));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The CPU time of the program and its children until now.
    pub(crate) fn cpu(&self) -> Result<CpuTime, BenchError> {
        CpuTime::of(&self.ids())
    }

    /// The resident memory of the program and its children, in MiB.
    pub(crate) fn resident(&self) -> Result<f64, BenchError> {
        self.memory("VmRSS:")
    }

    /// The largest resident memory of the program since [`Self::forget_peak`], in MiB.
    pub(crate) fn peak(&self) -> Result<f64, BenchError> {
        self.memory("VmHWM:")
    }

    /// Lets [`Self::peak`] begin with the memory of now.
    pub(crate) fn forget_peak(&self) -> Result<(), BenchError> {
        for id in self.ids() {
            // 5 resets the peak (proc(5), clear_refs).
            fs::write(format!("/proc/{id}/clear_refs"), "5").step("reset a program's peak of memory")?;
        }
        Ok(())
    }

    fn memory(&self, field: &str) -> Result<f64, BenchError> {
        let mut kibibytes = 0;
        for id in self.ids() {
            let status = fs::read_to_string(format!("/proc/{id}/status")).step("read a program's memory")?;
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
            kibibytes += number
                .and_then(|number| number.parse::<u32>().ok())
                .unwrap_or_default();
        }
        Ok(f64::from(kibibytes) / 1024.0)
    }

    /// The program's id, and those of its children: nginx has workers.
    fn ids(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        std::iter::once(id).chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // At SIGINT every measured program stops at once and takes its children with it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, BenchError> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).step("find a free port")?;
    Ok(listener.local_addr().step("find a free port")?.port())
}
