//! Calls external programs and reports their failure.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Default maximum run time of a program. A cold build of the cluster's programs takes ten minutes on two
/// cores.
const LIMIT: Duration = Duration::from_mins(30);

/// The pause between two looks at a program that closed its outputs and has not ended yet.
const PAUSE: Duration = Duration::from_millis(5);

/// Number of arguments that an error shows. Later ones may contain values that belong in no log.
const SHOWN_ARGUMENTS: usize = 4;

/// Number of lines of a program's output that an error quotes.
const SHOWN_LINES: usize = 15;

/// Why an external program did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is missing or may not be executed.
    #[error("failed to start `{program}`: check that it is installed and in PATH")]
    Start {
        /// The program's name or path.
        program: String,

        /// The operating system's error.
        source: io::Error,
    },

    /// The program did not end in time, and was killed.
    #[error("`{command}` did not end within {seconds} s and was killed")]
    TimedOut {
        /// The program and its first arguments.
        command: String,

        /// Duration of the run.
        seconds: u64,
    },

    /// The program was started, and then lost.
    #[error("failed to talk to `{command}`")]
    Pipe {
        /// The program and its first arguments.
        command: String,

        /// The operating system's error.
        source: io::Error,
    },

    /// The program ended with a failure.
    #[error("`{command}` ended with {status}: {complaint}")]
    Failed {
        /// The program and its first arguments.
        command: String,

        /// Exit code or signal.
        status: String,

        /// The last lines of its standard error, or of its output when that is empty.
        complaint: String,
    },
}

/// One call of an external program.
pub struct Call {
    command: Command,
    shown: String,
    arguments: usize,
    input: Option<Vec<u8>>,
    limit: Duration,
}

impl Call {
    /// Calls this program, found in PATH or at this path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown = Path::new(program)
            .file_name()
            .unwrap_or(program)
            .to_string_lossy()
            .into_owned();
        Self {
            command,
            shown,
            arguments: 0,
            input: None,
            limit: LIMIT,
        }
    }

    /// Adds an argument. An error shows the first four only: later ones may carry values that belong in no log.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        if self.arguments < SHOWN_ARGUMENTS {
            self.shown.push(' ');
            self.shown.push_str(&argument.to_string_lossy());
        }
        self.arguments += 1;
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the program in this folder.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Gives the program these bytes to read.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Gives the program an open file to read, so that the path need not exist where it runs.
    #[must_use]
    pub fn input_file(mut self, file: File) -> Self {
        self.command.stdin(Stdio::from(file));
        self
    }

    /// Kills the program when it has not ended within this time.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the program until it ends and returns its exit status.
    pub fn output(mut self) -> Result<Output, CommandError> {
        let mut child = self.spawn_piped()?;
        let deadline = Instant::now() + self.limit;
        let writer = self
            .input
            .take()
            .zip(child.stdin.take())
            .map(|(bytes, mut pipe)| {
                // A program may answer before it has read its whole input, so writing and reading run concurrently.
                std::thread::spawn(move || pipe.write_all(&bytes))
            });
        let outputs = (read(child.stdout.take()), read(child.stderr.take()));
        let ended = end(&mut child, &outputs, deadline).map_err(|source| CommandError::Pipe {
            command: self.shown.clone(),
            source,
        })?;
        let Some(output) = ended else {
            // The program may have ended in between. A child that is not waited for stays a zombie.
            drop(child.kill());
            drop(child.wait());
            return Err(CommandError::TimedOut {
                command: self.shown,
                seconds: self.limit.as_secs(),
            });
        };
        if let Some(writer) = writer {
            // A program that ends early closes its input; its exit status shows why.
            drop(writer.join());
        }
        Ok(output)
    }

    /// Runs the program and returns its standard output; any failure is an error.
    pub fn text(self) -> Result<String, CommandError> {
        let command = self.shown.clone();
        let output = self.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = [&output.stderr, &output.stdout]
            .map(|bytes| tail(&String::from_utf8_lossy(bytes), SHOWN_LINES))
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "it said nothing".to_owned());
        Err(CommandError::Failed {
            command,
            status: output.status.to_string(),
            complaint,
        })
    }

    /// Runs the program for its effect only.
    pub fn run(self) -> Result<(), CommandError> {
        self.text().map(drop)
    }

    /// Runs the program and returns whether it succeeded. A program that cannot be started did not succeed.
    pub fn succeeds(self) -> bool {
        self.output().is_ok_and(|output| output.status.success())
    }

    fn spawn_piped(&mut self) -> Result<Child, CommandError> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        self.command
            .spawn()
            .map_err(|source| CommandError::Start { program, source })
    }
}

/// Receives the whole content of a pipe, once the pipe is closed.
type Piped = Receiver<io::Result<Vec<u8>>>;

/// Reads a pipe to its end in a thread of its own: a program that fills one pipe must not wait for the other.
fn read(pipe: Option<impl Read + Send + 'static>) -> Piped {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes));
        // The receiver is dropped if the program was killed.
        drop(sender.send(read.map(|_| bytes)));
    });
    receiver
}

/// Returns the output and the exit status of a program, or `None` if it still runs at the deadline.
fn end(child: &mut Child, outputs: &(Piped, Piped), deadline: Instant) -> io::Result<Option<Output>> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let Ok(stdout) = outputs.0.recv_timeout(left()) else {
        return Ok(None);
    };
    let Ok(stderr) = outputs.1.recv_timeout(left()) else {
        return Ok(None);
    };
    let (stdout, stderr) = (stdout?, stderr?);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(Output {
                status,
                stdout,
                stderr,
            }));
        }
        if left().is_zero() {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The last `lines` lines of a text, without empty ones at its end.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_the_program_says() {
        assert_eq!(Call::new("cat").input("hello").text().unwrap(), "hello");
    }

    #[test]
    fn quotes_the_complaint_of_a_failure() {
        let error = Call::new("sh")
            .args(["-c", "echo broken >&2; exit 3"])
            .text()
            .unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3: broken"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let started = Instant::now();
        // The second script closes its outputs, so only its exit can be waited for.
        for script in ["sleep 60", "exec >&- 2>&-; exec sleep 60"] {
            let call = Call::new("sh").args(["-c", script]);
            let error = call.limit(Duration::from_millis(200)).run().unwrap_err();
            assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn a_program_may_write_more_than_a_pipe_holds() {
        let script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2";
        let output = Call::new("sh").args(["-c", script]).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (1_000_000, 1_000_000));
    }

    #[test]
    fn names_a_missing_program() {
        let error = Call::new("behalf-no-such-program").run().unwrap_err();
        assert!(matches!(error, CommandError::Start { program, .. } if program == "behalf-no-such-program"));
    }

    #[test]
    fn hides_late_arguments() {
        let error = Call::new("sh")
            .args(["-c", "exit 1", "a", "b", "secret"])
            .run()
            .unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn keeps_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n\n", 2), "b\nc");
    }
}
