//! The record of requests, without secrets, and separately the tokens that the simulator received.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// More calls than a test looks at; a demo that runs for days stays small.
const KEPT: usize = 10_000;

/// One call, as tests may see and print it: no header values, no token, no secret in the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedCall {
    /// Counts from 1 since the last reset, gaps show what was dropped.
    pub sequence: u64,

    /// When it arrived.
    pub time: String,

    /// `core`, `release` or `identity`.
    pub host: String,

    /// HTTP method.
    pub method: String,

    /// The route that took it, in lower case; absent when nothing did.
    pub route: Option<String>,

    /// Path as received.
    pub path: String,

    /// Query in order, names in lower case; values of suspicious names are replaced.
    pub query: Vec<(String, String)>,

    /// `oid` of the verified user.
    pub object_id: Option<String>,

    /// Why the token was refused: a word of [`super::Refusal`].
    pub refusal: Option<String>,

    /// Whether the caller sent `X-TFS-FedAuthRedirect: Suppress`.
    pub suppresses_redirect: bool,

    /// The trace context of the caller.
    #[serde(default)]
    pub traceparent: Option<String>,

    /// The fault that was applied.
    pub fault: Option<String>,

    /// HTTP status that was made; absent when the connection was ended without an answer.
    pub status: Option<u16>,

    /// The exact body of a `POST` or `PATCH`: a run, a cancel, a retry, an approval.
    pub body: Option<String>,

    /// `activityid` of the answer.
    pub activity_id: String,
}

/// The calls and the tokens.
#[derive(Debug, Default)]
pub(super) struct Record {
    sequence: u64,
    calls: VecDeque<RecordedCall>,
    tokens: BTreeSet<String>,
}

impl Record {
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence = self.sequence.saturating_add(1);
        self.sequence
    }

    pub(super) fn push(&mut self, call: RecordedCall) {
        if self.calls.len() >= KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    pub(super) fn calls(&self) -> Vec<RecordedCall> {
        let mut calls: Vec<RecordedCall> = self.calls.iter().cloned().collect();
        // Calls are added when they end. Readers get them in the order in which they began.
        calls.sort_by_key(|call| call.sequence);
        calls
    }

    pub(super) fn clear_calls(&mut self) {
        self.calls.clear();
        self.sequence = 0;
    }

    /// Keeps a token for leak tests.
    pub(super) fn remember(&mut self, token: &str) {
        self.tokens.insert(token.to_owned());
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        self.tokens.iter().cloned().collect()
    }
}

/// The query with values of suspicious names replaced.
pub(super) fn redacted(pairs: &[(String, String)]) -> Vec<(String, String)> {
    const SUSPICIOUS: [&str; 8] = [
        "token",
        "secret",
        "password",
        "assertion",
        "bearer",
        "signature",
        "sig",
        "credential",
    ];
    pairs
        .iter()
        .map(|(name, value)| {
            let harmless = name == "continuationtoken" || !SUSPICIOUS.iter().any(|word| name.contains(word));
            (
                name.clone(),
                if harmless {
                    value.clone()
                } else {
                    "[redacted]".to_owned()
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts_what_looks_like_a_secret_and_keeps_the_paging_token() {
        let pairs = [("bearertoken", "eyJ"), ("continuationtoken", "5"), ("$top", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values: Vec<String> = redacted(&pairs).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["[redacted]", "5", "1"]);
    }
}
