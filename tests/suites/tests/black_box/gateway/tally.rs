//! The answers to the calls of a fault run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use behalf_demo::mcp_client::ClientError;
use behalf_runtime::error_chain;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::is_result;

/// Number of wrong answers whose text is kept.
const KEPT: usize = 20;

/// The answers of all sessions so far.
pub(super) struct Tally {
    began: Instant,
    counts: Mutex<Counts>,
}

/// Numbers of answers.
#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    /// Results of the tool.
    pub(super) results: u64,

    /// Answers that ask the client to try again: 503 with `Retry-After`, or the tool's result that Azure DevOps is slow.
    pub(super) unavailable: u64,

    /// The same by fault.
    pub(super) unavailable_by_fault: BTreeMap<&'static str, u64>,

    /// Everything else.
    pub(super) wrong: u64,

    /// The first of these, with the time and the fault.
    pub(super) first_wrong: Vec<String>,

    /// Refreshes that gave tokens.
    pub(super) refreshes: u64,

    fault: &'static str,
}

impl Counts {
    /// Number of all calls.
    pub(super) fn calls(&self) -> u64 {
        self.results + self.unavailable + self.wrong
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            counts: Mutex::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Says which fault happens from now on.
    pub(super) fn begin(&self, fault: &'static str) {
        let mut counts = self.lock();
        counts.fault = fault;
        println!(
            "    {:>4} s: {fault}; so far {} calls, {} to be tried again, {} wrong",
            self.began.elapsed().as_secs(),
            counts.calls(),
            counts.unavailable,
            counts.wrong
        );
    }

    /// Counts the answer to a call. Returns the seconds after which the client may try again, if it must wait.
    pub(super) async fn count(&self, answer: Result<reqwest::Response, ClientError>) -> Option<u64> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.wrong(&error_chain(&error));
                return None;
            }
        };
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = match answer.text().await {
            Ok(body) => body,
            Err(error) => {
                self.wrong(&format!("{status}, then {}", error_chain(&error)));
                return None;
            }
        };
        if status == StatusCode::OK && is_result(&body) {
            self.lock().results += 1;
            return None;
        }
        // A busy machine can delay the simulator of Azure DevOps beyond the server's limit.
        let is_slow = status == StatusCode::OK && body.contains("Azure DevOps did not answer in time");
        if is_slow || (status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some()) {
            let mut counts = self.lock();
            counts.unavailable += 1;
            let fault = counts.fault;
            *counts.unavailable_by_fault.entry(fault).or_default() += 1;
            return retry_after;
        }
        self.wrong(&format!("{status}: {body:.300}"));
        None
    }

    pub(super) fn refreshed(&self) {
        self.lock().refreshes += 1;
    }

    /// Counts an answer that no client may get.
    pub(super) fn wrong(&self, what: &str) {
        let mut counts = self.lock();
        counts.wrong += 1;
        if counts.first_wrong.len() < KEPT {
            let seconds = self.began.elapsed().as_secs();
            let line = format!("at {seconds} s, while {}: {what}", counts.fault);
            println!("    wrong {line}");
            counts.first_wrong.push(line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
