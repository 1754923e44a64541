//! Controllers as processes of this machine.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::world::{TestResult, artifact};

/// A running process. It is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program that writes its output to a log of this name, which remains after the run.
    pub(crate) fn start(log: &str, command: &mut Command) -> TestResult<Self> {
        let path = artifact(&format!("{log}.log"))?;
        let file = File::create(&path)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        println!("    {log} runs, its log is {}", path.display());
        Ok(Self(child))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already. A child that is not waited for stays a zombie.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port of the loopback address that nobody listens on now.
pub(crate) fn free_port() -> TestResult<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A program with nothing of the environment but what a controller needs. Its files are below `home`.
pub(crate) fn program(path: &Path, home: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TMPDIR", home);
    command
}
