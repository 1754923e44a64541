//! The process of the operator.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{BenchError, Step as _};
use crate::objects::{NAMESPACE, OPERATOR_NAMESPACE};

/// The unit of `/proc/<id>/stat`: `USER_HZ`, which is 100 per second on Linux.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// A running operator. It ends when it is dropped.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// Starts the operator with a Lease, as the chart does. `pod` is the name of its Pod: an operator with the name of the last
    /// holder takes the Lease at once, and another one when it has expired.
    pub(crate) fn start(binary: &Path, kubeconfig: &Path, log: &Path, pod: &str) -> Result<Self, BenchError> {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .step("find a free port")?
            .port();
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .step("create a log file")?;
        let errors = file.try_clone().step("open a log file")?;
        let child = Command::new(binary)
            .arg("run")
            .arg(format!("--watch-namespaces={NAMESPACE}"))
            .arg(format!("--namespace={OPERATOR_NAMESPACE}"))
            .arg(format!("--pod-name={pod}"))
            .arg("--lease=behalf-operator")
            .arg(format!("--port={port}"))
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .step(format_args!("start {}", binary.display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Fails with the end of its log if the operator has ended.
    pub(crate) fn check(&mut self) -> Result<(), BenchError> {
        if self.child.try_wait().step("look at the operator")?.is_none() {
            return Ok(());
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        let last = last.join(" | ");
        Err(BenchError::new(format!(
            "the operator has ended; its last lines, newest first: {last}"
        )))
    }

    /// Ends it at once, as the kernel does when memory is short.
    pub(crate) fn kill(mut self) -> Result<(), BenchError> {
        self.child.kill().step("kill the operator")?;
        self.child.wait().map(drop).step("kill the operator")
    }

    /// The resident memory in MiB: now, and the most so far.
    pub(crate) fn memory(&self) -> Result<(f64, f64), BenchError> {
        let status = self.proc("status")?;
        Ok((mebibytes(&status, "VmRSS:")?, mebibytes(&status, "VmHWM:")?))
    }

    /// The CPU time since its start.
    pub(crate) fn cpu(&self) -> Result<Duration, BenchError> {
        let stat = self.proc("stat")?;
        // The name of the program, in parentheses, may contain spaces. utime is the 12th field behind it, stime the 13th.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let times = fields.split_ascii_whitespace().skip(11).take(2);
        let ticks: u32 = times.filter_map(|text| text.parse::<u32>().ok()).sum();
        Ok(TICK * ticks)
    }

    fn proc(&self, file: &str) -> Result<String, BenchError> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(path).step("look at the operator's process")
    }
}

/// Returns a value of `/proc/<id>/status` in MiB.
fn mebibytes(status: &str, field: &str) -> Result<f64, BenchError> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes = number.and_then(|number| number.parse::<u32>().ok());
    let kibibytes =
        kibibytes.ok_or_else(|| BenchError::new(format!("the kernel shows no {field} of the operator")))?;
    Ok(f64::from(kibibytes) / 1024.0)
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_the_kernel_does_not_show_is_an_error_and_not_zero() {
        let status = "Name:\tbehalf\nVmRSS:\t    2048 kB\n";
        assert!((mebibytes(status, "VmRSS:").unwrap() - 2.0).abs() < f64::EPSILON);
        assert!(mebibytes(status, "VmHWM:").is_err());
    }
}
