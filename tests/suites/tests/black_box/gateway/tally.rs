//! The answers to the calls and refreshes of a fault run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use behalf_demo::mcp_client::ClientError;
use behalf_runtime::error_chain;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::is_result;
use crate::ensure;
use crate::world::TestResult;

/// Number of wrong answers whose text is kept.
const KEPT: usize = 20;

/// The answers of all sessions so far.
pub(super) struct Tally {
    began: Instant,
    counts: Mutex<Counts>,
}

/// Numbers of answers by kind.
#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    /// Results of the tool.
    results: u64,

    /// Refreshes that gave tokens.
    refreshes: u64,

    /// Answers 503 with `Retry-After`, also to refreshes, by fault. The log of the gateway shows whether those to refreshes had
    /// the header: rmcp's client does not.
    unavailable: BTreeMap<&'static str, u64>,

    /// The tool's results that Azure DevOps is slow. A busy machine can delay its simulator beyond the server's limit.
    slow: u64,

    /// Everything else, a 401 included.
    wrong: u64,

    /// The first of these, with the time and the fault.
    first_wrong: Vec<String>,

    /// The time until the slowest result was read, and its fault.
    slowest: (Duration, &'static str),

    fault: &'static str,
}

impl Counts {
    /// Number of all answers.
    pub(super) fn answers(&self) -> u64 {
        self.results + self.refreshes + self.unavailable() + self.slow + self.wrong
    }

    fn unavailable(&self) -> u64 {
        self.unavailable.values().sum()
    }

    /// Fails if there is a wrong answer, not fewer than one answer 503 in a thousand beside `unavailable` of them, more slow
    /// ones than `slow`, or no refresh.
    pub(super) fn are_allowed(&self, unavailable: usize, slow: usize) -> TestResult {
        let (unavailable, slow) = (unavailable as u64, slow as u64);
        ensure!(
            self.wrong == 0,
            "{} wrong answers: {:#?}",
            self.wrong,
            self.first_wrong
        );
        ensure!(
            self.slow <= slow,
            "{} results said that Azure DevOps is slow",
            self.slow
        );
        ensure!(
            self.unavailable().saturating_sub(unavailable) * 1000 < self.answers(),
            "{} of {} answers were 503: fewer than one in a thousand are allowed beside {unavailable}",
            self.unavailable(),
            self.answers()
        );
        ensure!(self.refreshes > 0, "no session was refreshed");
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} answers: {} results, {} refreshes, {} times 503 with Retry-After {:?}, {} slow, {} wrong; \
             the slowest result took {} ms while {}",
            self.answers(),
            self.results,
            self.refreshes,
            self.unavailable(),
            self.unavailable,
            self.slow,
            self.wrong,
            self.slowest.0.as_millis(),
            self.slowest.1
        )
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
            "    {:>4} s: {fault}; so far {} answers, {} times 503, {} slow, {} wrong",
            self.began.elapsed().as_secs(),
            counts.answers(),
            counts.unavailable(),
            counts.slow,
            counts.wrong
        );
    }

    /// Counts the answer to a call that began at this time. Returns the seconds after which the client may try again, if it
    /// must wait.
    pub(super) async fn count(
        &self,
        began: Instant,
        answer: Result<reqwest::Response, ClientError>,
    ) -> Option<u64> {
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
            let mut counts = self.lock();
            counts.results += 1;
            counts.slowest = counts.slowest.max((began.elapsed(), counts.fault));
        } else if status == StatusCode::OK && body.contains("Azure DevOps did not answer in time") {
            self.lock().slow += 1;
        } else if status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some() {
            self.unavailable();
            return retry_after;
        } else {
            self.wrong(&format!("{status}: {body:.300}"));
        }
        None
    }

    /// Counts a refresh: whether it gave tokens, or must be tried again.
    pub(super) fn refreshed(&self, has_tokens: bool) {
        if has_tokens {
            self.lock().refreshes += 1;
        } else {
            self.unavailable();
        }
    }

    fn unavailable(&self) {
        let mut counts = self.lock();
        let fault = counts.fault;
        *counts.unavailable.entry(fault).or_default() += 1;
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
