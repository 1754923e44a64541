//! The MCP Inspector's command line as a client: it gets a URL, and a person at the browser it asks for.
//!
//! Its version, and the Node.js it needs, are pinned in `tests/suites/inspector`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::npm::{NpmError, Packages};
use crate::printed::{authorize_url, without_parameters};
use behalf_simulators::people::Person;
use behalf_simulators::sign_in::{Browser, SignInError, Visit};

/// The longest wait for one command, a sign-in included.
const TIMEOUT: Duration = Duration::from_mins(2); // see `TimedOut`

/// Why the Inspector did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum InspectorError {
    /// A file or a process.
    #[error("failed to {action}")]
    Io {
        /// The step that failed.
        action: &'static str,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The Inspector could not be installed.
    #[error("failed to install the Inspector")]
    Install(#[from] NpmError),

    /// The person's part failed.
    #[error("failed to sign in for the Inspector")]
    SignIn(#[from] SignInError),

    /// The browser could not deliver the redirect.
    #[error("failed to deliver the redirect to the Inspector")]
    Redirect(#[source] reqwest::Error),

    /// It did not end in time.
    #[error("the Inspector did not end within two minutes; it printed: {0}")]
    TimedOut(String),

    /// It ended with an error.
    #[error("the Inspector ended with {status}: {output}")]
    Failed {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Its output, without the authorize URL's parameters.
        output: String,
    },
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> InspectorError {
    move |source| InspectorError::Io { action, source }
}

/// The revisions of MCP to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `initialize` first.
    Legacy,

    /// Every request on its own.
    Modern,
}

/// An installed Inspector.
#[derive(Debug, Clone)]
pub struct Inspector {
    packages: Packages,
}

impl Inspector {
    /// Installs it into the cache; once there, it costs nothing.
    pub fn install() -> Result<Self, InspectorError> {
        Ok(Self {
            packages: Packages::install("tests/suites/inspector")?,
        })
    }

    /// A visit to a server, with an empty home of its own.
    pub fn visit(&self, server: &Url, protocol: Protocol) -> Result<InspectorVisit, InspectorError> {
        let home = tempfile::tempdir().map_err(io("create a home for the Inspector"))?;
        Ok(InspectorVisit {
            packages: self.packages.clone(),
            home,
            server: server.clone(),
            protocol,
            sign_ins: 0,
        })
    }
}

/// One user's Inspector at one server: it keeps what it was given between calls.
#[derive(Debug)]
pub struct InspectorVisit {
    packages: Packages,
    home: TempDir,
    server: Url,
    protocol: Protocol,
    sign_ins: usize,
}

impl InspectorVisit {
    /// Number of times that it has asked for the browser.
    pub fn sign_ins(&self) -> usize {
        self.sign_ins
    }

    /// Calls one tool and returns the result as the Inspector wrote it; signs in when it asks.
    pub async fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        person: &Person,
    ) -> Result<Value, InspectorError> {
        let arguments = arguments.to_string();
        self.run(
            &[
                "--method",
                "tools/call",
                "--tool-name",
                tool,
                "--tool-args-json",
                &arguments,
            ],
            person,
        )
        .await
    }

    async fn run(&mut self, arguments: &[&str], person: &Person) -> Result<Value, InspectorError> {
        let result = self.home.path().join("result.json");
        let era = match self.protocol {
            Protocol::Legacy => "legacy",
            Protocol::Modern => "modern",
        };
        let mut words = vec![
            "mcp-inspector",
            "--cli",
            self.server.as_str(),
            "--transport",
            "http",
        ];
        words.extend(["--protocol-era", era, "--format", "json", "--output"]);
        let result_path = result.display().to_string();
        words.push(&result_path);
        words.extend(arguments);
        let command = words.into_iter().map(quote).collect::<Vec<_>>().join(" ");

        // The Inspector starts an interactive login only at a terminal. The program `script` provides one.
        let mut child = tokio::process::Command::new("script")
            .args([
                "--quiet",
                "--flush",
                "--return",
                "--command",
                &command,
                "/dev/null",
            ])
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", self.packages.search_path())
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(io("start the Inspector"))?;
        let mut printed = String::new();
        let Some(mut stdout) = child.stdout.take() else {
            return Err(InspectorError::TimedOut(printed));
        };
        let mut signed_in = false;
        let work = async {
            let mut buffer = [0; 4096];
            loop {
                let count = stdout.read(&mut buffer).await.unwrap_or(0); // a closed terminal is an end
                if count == 0 {
                    break;
                }
                printed.push_str(&String::from_utf8_lossy(&buffer[..count]));
                if !signed_in && let Some(authorize) = authorize_url(&printed) {
                    signed_in = true;
                    let back = Browser::new()?
                        .sign_in(&Visit::new(authorize, person.user_name))
                        .await?;
                    let deliver = reqwest::Client::builder()
                        .no_proxy()
                        .build()
                        .map_err(InspectorError::Redirect)?;
                    deliver
                        .get(back.redirect)
                        .send()
                        .await
                        .map_err(InspectorError::Redirect)?;
                }
            }
            child.wait().await.map_err(io("wait for the Inspector"))
        };
        let ended = tokio::time::timeout(TIMEOUT, work).await;
        self.sign_ins += usize::from(signed_in);
        let status = match ended {
            Ok(status) => status?,
            Err(_) => return Err(InspectorError::TimedOut(without_parameters(&printed))),
        };
        match std::fs::read(&result)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
        {
            Some(value) => Ok(value),
            None => Err(InspectorError::Failed {
                status,
                output: without_parameters(&printed),
            }),
        }
    }
}

/// One word for the shell that `script` starts.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn quotes_survive_the_shell() {
        let printed = Command::new("sh")
            .args(["-c", &format!("printf %s {}", quote("it's {\"a\":1}"))])
            .output()
            .unwrap();
        assert_eq!(printed.stdout, b"it's {\"a\":1}");
    }
}
