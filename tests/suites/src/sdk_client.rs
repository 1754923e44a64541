//! Runs clients on the official MCP SDKs. Each client is a small program that gets the URL of a server; a
//! simulated person signs in when the program asks for a browser. `tests/suites/clients` pins the versions.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use url::Url;

use crate::inspector::Protocol;
use crate::npm::{NpmError, Packages};
use crate::printed::without_parameters;
use crate::python::{Environment, PythonError};
use behalf_simulators::people::Person;
use behalf_simulators::sign_in::{Browser, SignInError, Visit};

/// The longest wait for the next line that a client writes.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Maximum number of bytes of a client's standard error in an error message.
const SHOWN: usize = 4096;

/// The reason why a client did not finish its work.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The packages could not be installed.
    #[error("failed to install the TypeScript SDK")]
    Npm(#[from] NpmError),

    /// The Python environment could not be created.
    #[error("failed to install the Python SDK")]
    Python(#[from] PythonError),

    /// A process could not be started, or its input or output failed.
    #[error("failed to talk to the client")]
    Io(#[from] std::io::Error),

    /// The simulated person could not sign in.
    #[error("failed to sign in for the client")]
    SignIn(#[from] SignInError),

    /// The client wrote a line that is not part of its protocol.
    #[error("the client wrote a line that is not of its protocol: {0}")]
    Line(String),

    /// The client wrote nothing for a minute.
    #[error("the client wrote nothing for a minute; it complained: {0}")]
    TimedOut(String),

    /// The client ended with an error.
    #[error("the client ended with {status} after {sessions} sign-ins: {complaint}")]
    Failed {
        /// The exit status of the client.
        status: std::process::ExitStatus,
        /// Number of sign-ins that the client had finished.
        sessions: usize,
        /// The end of its standard error, without the authorize URL's parameters.
        complaint: String,
    },
}

/// An official MCP SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// The package `mcp` of the Python Package Index.
    Python,

    /// npm `@modelcontextprotocol/client`, release line 2.
    TypeScript,

    /// npm `@modelcontextprotocol/sdk`, release line 1: it knows the legacy era only.
    TypeScript1,
}

/// An installed client.
#[derive(Debug, Clone)]
pub struct SdkClient {
    program: PathBuf,
    arguments: Vec<String>,
}

/// The work of a client.
#[derive(Debug, Clone, Copy)]
pub struct Work<'w> {
    /// The MCP endpoint.
    pub server: &'w Url,

    /// The revisions of MCP to speak.
    pub protocol: Protocol,

    /// Number of clients that sign in, one after the other.
    pub sign_ins: usize,

    /// The tools that each client calls, with their arguments.
    pub calls: &'w [(&'w str, Value)],

    /// A checkbox of the consent page that the person clears at the first sign-in, and leaves alone later.
    pub cleared: Option<&'w str>,

    /// A file with a certificate authority (PEM) that the client and the browser trust.
    pub authority: Option<&'w Path>,
}

/// The results of one client after its sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Number of times that the client asked for the browser.
    pub sign_ins: usize,

    /// The scopes that it was granted.
    pub scope: String,

    /// The names of the tools.
    pub tools: Vec<String>,

    /// The result of each call.
    pub results: Vec<ToolResult>,
}

/// A tool's result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResult {
    /// Whether the tool returned an error.
    pub is_error: bool,

    /// The text that a model would read.
    pub text: String,
}

/// A line that a client writes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Authorize(Url),
    Session(Session),
}

impl SdkClient {
    /// Installs a client into the cache. Later calls find it there.
    pub fn install(sdk: Sdk) -> Result<Self, SdkError> {
        let line = match sdk {
            Sdk::Python => {
                let python = Environment::install("tests/suites/clients/python")?;
                return Ok(Self {
                    program: python.program(),
                    arguments: vec![python.file("client.py").display().to_string()],
                });
            }
            Sdk::TypeScript => "v2",
            Sdk::TypeScript1 => "v1",
        };
        let packages = Packages::install("tests/suites/clients/typescript")?;
        Ok(Self {
            program: packages.node(),
            arguments: vec![packages.file("client.mjs").display().to_string(), line.to_owned()],
        })
    }

    /// Runs the client; the person signs in each time it asks.
    pub async fn run(&self, work: &Work<'_>, person: &Person) -> Result<Vec<Session>, SdkError> {
        let protocol = match work.protocol {
            Protocol::Legacy => "legacy",
            Protocol::Modern => "modern",
        };
        let calls = serde_json::to_string(work.calls).map_err(|error| SdkError::Line(error.to_string()))?;
        // The first variable is Python's, the second one is that of Node.js.
        let authority = work.authority.into_iter();
        let authority = authority.flat_map(|file| [("SSL_CERT_FILE", file), ("NODE_EXTRA_CA_CERTS", file)]);
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .args([protocol, work.server.as_str(), &work.sign_ins.to_string(), &calls])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(authority)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut complaints = child.stderr.take();
        // Standard error is read concurrently, because a client that fills the pipe would block.
        let complaint = tokio::spawn(async move {
            let mut bytes = Vec::new();
            if let Some(pipe) = &mut complaints {
                // The error message contains the text that was read before a read error.
                let _ = pipe.read_to_end(&mut bytes).await;
            }
            let text = without_parameters(&String::from_utf8_lossy(&bytes));
            text[text.ceil_char_boundary(text.len().saturating_sub(SHOWN))..].to_owned()
        });
        let mut sessions = Vec::new();
        let worked = follow(&mut child, person, work, &mut sessions).await;
        if matches!(worked, Err(SdkError::TimedOut(_))) {
            child.kill().await?;
            return Err(SdkError::TimedOut(complaint.await.unwrap_or_default()));
        }
        worked?;
        let status = child.wait().await?;
        if status.success() {
            return Ok(sessions);
        }
        Err(SdkError::Failed {
            status,
            sessions: sessions.len(),
            complaint: complaint.await.unwrap_or_default(),
        })
    }
}

/// Answers each line until the client closes its output.
async fn follow(
    child: &mut Child,
    person: &Person,
    work: &Work<'_>,
    sessions: &mut Vec<Session>,
) -> Result<(), SdkError> {
    let mut cleared = work.cleared;
    let authority = work.authority.map(std::fs::read_to_string).transpose()?;
    let (Some(stdout), Some(mut stdin)) = (child.stdout.take(), child.stdin.take()) else {
        return Ok(());
    };
    let mut lines = BufReader::new(stdout).lines();
    loop {
        let next = tokio::time::timeout(TIMEOUT, lines.next_line()).await;
        let Some(line) = next.map_err(|_| SdkError::TimedOut(String::new()))?? else {
            return Ok(());
        };
        match serde_json::from_str(&line) {
            Ok(Line::Authorize(url)) => {
                let visit = Visit::new(url, person.user_name);
                let visit = match cleared.take() {
                    Some(checkbox) => visit.untick(checkbox),
                    None => visit,
                };
                sign_in(&visit, authority.as_deref(), &mut stdin).await?;
            }
            Ok(Line::Session(session)) => sessions.push(session),
            Err(_) => return Err(SdkError::Line(without_parameters(&line))),
        }
    }
}

/// The person signs in, and the client gets the address that the browser is sent back to.
async fn sign_in(visit: &Visit, authority: Option<&str>, client: &mut ChildStdin) -> Result<(), SdkError> {
    let authorities: Vec<&str> = authority.into_iter().collect();
    let back = Browser::trusting(&authorities)?.sign_in(visit).await?;
    let line = format!("{}\n", back.redirect);
    Ok(client.write_all(line.as_bytes()).await?)
}
