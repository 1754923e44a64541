//! Faults that a test switches on.

use serde::{Deserialize, Serialize};

use super::RequestKind;

/// Something that goes wrong on command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which requests it hits; empty: all.
    #[serde(default)]
    pub requests: Vec<RequestKind>,

    /// Which application's requests it hits; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,

    /// Number of requests that it hits. Absent: all until the faults are cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,

    /// The effect on them.
    pub effect: Effect,
}

impl Fault {
    /// Hits the next request of one of these kinds.
    pub fn once(requests: impl Into<Vec<RequestKind>>, effect: Effect) -> Self {
        Self {
            requests: requests.into(),
            client_id: None,
            times: Some(1),
            effect,
        }
    }

    /// Hits the next `times` requests of these kinds.
    pub fn times(times: u32, requests: impl Into<Vec<RequestKind>>, effect: Effect) -> Self {
        Self {
            requests: requests.into(),
            client_id: None,
            times: Some(times),
            effect,
        }
    }

    /// Hits every request of these kinds until the faults are cleared.
    pub fn always(requests: impl Into<Vec<RequestKind>>, effect: Effect) -> Self {
        Self {
            requests: requests.into(),
            client_id: None,
            times: None,
            effect,
        }
    }
}

/// The effect of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", deny_unknown_fields)]
pub enum Effect {
    /// 429, with `Retry-After` when given.
    #[serde(rename_all = "camelCase")]
    Throttled {
        /// Value of `Retry-After`.
        retry_after_seconds: Option<u32>,
    },

    /// A plain error status without Entra's body.
    #[serde(rename_all = "camelCase")]
    Status {
        /// The HTTP status, for example 503.
        status: u16,
        /// Value of `Retry-After`.
        retry_after_seconds: Option<u32>,
    },

    /// The request is answered rightly, but late.
    Slow {
        /// The delay.
        milliseconds: u64,
    },

    /// The request waits until the faults are cleared, and is then answered rightly.
    Hold,

    /// The connection is dropped without an answer.
    Reset,

    /// A page in HTML where JSON belongs.
    Html {
        /// The HTTP status.
        status: u16,
    },

    /// 200 with JSON that is cut short.
    Truncated,

    /// Entra's error body with these values.
    #[serde(rename_all = "camelCase")]
    Refusal {
        /// The HTTP status.
        status: u16,
        /// `error`.
        error: String,
        /// AADSTS code.
        code: u32,
        /// `suberror`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suberror: Option<String>,
        /// `claims`, a JSON text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<String>,
    },
}
