//! Runs the scenarios of the public MCP conformance suite against a server and an authorization server.
//!
//! `tests/suites/conformance` pins the version of the suite and of its Node.js. It also contains the baseline: the
//! checks that cannot pass, because they need fixtures that a server with only tools does not have.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::npm::{NpmError, Packages};
use crate::printed::{authorize_url, without_parameters};
use behalf_simulators::people::Person;
use behalf_simulators::sign_in::{Browser, SignInError, Visit};

/// The longest wait for one scenario, a sign-in included.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The reason why a scenario did not run.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    /// The suite could not be installed.
    #[error("failed to install the conformance suite")]
    Install(#[from] NpmError),

    /// An operation on a file, a port or a process failed.
    #[error("failed to {action}")]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },

    /// The simulated person could not sign in.
    #[error("failed to sign in for the conformance suite")]
    SignIn(#[from] SignInError),

    /// The browser could not deliver the redirect.
    #[error("failed to deliver the redirect to the conformance suite")]
    Redirect(#[source] reqwest::Error),

    /// The suite did not end in time.
    #[error("the conformance suite did not end within a minute; it printed: {0}")]
    TimedOut(String),

    /// The suite wrote no results.
    #[error("the conformance suite left no results; it printed: {0}")]
    NoResults(String),
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> ConformanceError {
    move |source| ConformanceError::Io { action, source }
}

/// One check of a scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// For example `sep-2575-server-no-log-without-loglevel`.
    pub id: String,

    /// `SUCCESS`, `FAILURE`, `WARNING`, `SKIPPED` or `INFO`.
    pub status: String,

    /// The suite's description of the failure.
    #[serde(default)]
    pub error_message: Option<String>,
}

/// The suite's result of a scenario.
#[derive(Debug)]
pub struct Verdict {
    /// Whether the suite ended with success.
    pub passed: bool,

    /// All checks of the scenario.
    pub checks: Vec<Check>,

    /// The suite's output, without the authorize URL's parameters.
    pub printed: String,
}

impl Verdict {
    /// Returns the number of checks with this status.
    pub fn count(&self, status: &str) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

/// An installed suite.
#[derive(Debug, Clone)]
pub struct Conformance {
    packages: Packages,
}

impl Conformance {
    /// Installs the suite into the cache. Later calls find it there.
    pub fn install() -> Result<Self, ConformanceError> {
        Ok(Self {
            packages: Packages::install("tests/suites/conformance")?,
        })
    }

    /// Runs a scenario for servers at one protocol revision. With the baseline, a failure that the baseline does
    /// not name fails the scenario, and so does a warning, and a check that the baseline names and that passes.
    pub async fn server(
        &self,
        url: &str,
        scenario: &str,
        revision: &str,
        baseline: bool,
    ) -> Result<Verdict, ConformanceError> {
        let file = self.packages.file("baseline.yml").display().to_string();
        let mut words = vec![
            "server",
            "--url",
            url,
            "--scenario",
            scenario,
            "--spec-version",
            revision,
        ];
        if baseline {
            words.extend(["--expected-failures", &file]);
        }
        self.run(&words, None).await
    }

    /// Runs the scenarios for authorization servers: the later ones need what the first one finds. `client_id` is
    /// registered for `/callback` of 127.0.0.1; `person` answers the browser's pages.
    pub async fn authorization(
        &self,
        issuer: &Url,
        resource: &Url,
        client_id: &str,
        person: &Person,
    ) -> Result<Verdict, ConformanceError> {
        let port = free_port().map_err(io("find a free port"))?.to_string();
        let words = [
            "authorization",
            "--url",
            issuer.as_str().trim_end_matches('/'),
            "--client-id",
            client_id,
            "--resource",
            resource.as_str(),
            "--port",
            &port,
        ];
        self.run(&words, Some(person)).await
    }

    async fn run(&self, words: &[&str], person: Option<&Person>) -> Result<Verdict, ConformanceError> {
        let results = tempfile::tempdir().map_err(io("create a folder for the results"))?;
        let mut child = tokio::process::Command::new(self.packages.node())
            .arg(self.packages.file("node_modules/.bin/conformance"))
            .args(words)
            .arg("--output-dir")
            .arg(results.path())
            .env_clear()
            .env("PATH", self.packages.search_path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(io("start the conformance suite"))?;
        let mut printed = String::new();
        let mut stdout = child.stdout.take();
        let work = async {
            let mut buffer = [0; 4096];
            let mut waits = person;
            while let Some(pipe) = &mut stdout {
                let count = pipe.read(&mut buffer).await.map_err(io("read what it prints"))?;
                if count == 0 {
                    break;
                }
                printed.push_str(&String::from_utf8_lossy(&buffer[..count]));
                if let Some(url) = waits.and_then(|_| authorize_url(&printed))
                    && let Some(person) = waits.take()
                {
                    sign_in(url, person).await?;
                }
            }
            child.wait().await.map_err(io("wait for the conformance suite"))
        };
        let ended = tokio::time::timeout(TIMEOUT, work).await;
        let printed = without_parameters(&printed);
        let Ok(status) = ended else {
            return Err(ConformanceError::TimedOut(printed));
        };
        let passed = status?.success();
        let checks = checks(results.path()).map_err(io("read the results"))?;
        if checks.is_empty() && !passed {
            return Err(ConformanceError::NoResults(printed));
        }
        Ok(Verdict {
            passed,
            checks,
            printed,
        })
    }
}

/// The person signs in; the browser opens the redirect, at which the suite listens.
async fn sign_in(authorize: Url, person: &Person) -> Result<(), ConformanceError> {
    let back = Browser::new()?
        .sign_in(&Visit::new(authorize, person.user_name))
        .await?;
    let browser = reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(ConformanceError::Redirect)?;
    let opened = browser.get(back.redirect).send().await;
    opened.map(drop).map_err(ConformanceError::Redirect)
}

/// Returns a free loopback port.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Reads the checks of a scenario. The suite writes a `checks.json` into a folder whose name it chooses.
fn checks(results: &Path) -> std::io::Result<Vec<Check>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(results)? {
        let file = entry?.path().join("checks.json");
        let checks: Vec<Check> = serde_json::from_slice(&std::fs::read(file)?)?;
        all.extend(checks);
    }
    Ok(all)
}
