//! The rate limit of each user: TSTU in a sliding window of five minutes (azure-devops.md, section 10).

use std::collections::{BTreeMap, VecDeque};

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Seconds of the window.
const WINDOW_SECONDS: i64 = 300;

/// The resource that answers name.
pub(super) const RESOURCE: &str = "Azure DevOps Services TSTU";

/// A user's budget, in thousandths of a TSTU so that sums are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimit {
    /// Limit of the window. The service: 200 TSTU.
    pub limit_milli_tstu: u64,

    /// Cost of each call.
    pub cost_milli_tstu: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            limit_milli_tstu: 200_000,
            cost_milli_tstu: 50,
        }
    }
}

/// A user's consumption.
#[derive(Debug, Default)]
pub(super) struct Usage(BTreeMap<String, VecDeque<(i64, u64)>>);

/// The counter's decision on one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Charge {
    /// Too much: the call is not carried out.
    pub(super) blocked: bool,
    /// Rate headers; empty while the use is under half of the limit.
    pub(super) headers: HeaderMap,
}

impl Usage {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Books one call of `object_id`. A blocked call costs nothing: otherwise a blocked user would stay blocked.
    pub(super) fn charge(&mut self, object_id: &str, limit: RateLimit, now: Timestamp) -> Charge {
        let now = now.as_second();
        let calls = self.0.entry(object_id.to_owned()).or_default();
        while calls
            .front()
            .is_some_and(|(time, _)| now - time >= WINDOW_SECONDS)
        {
            calls.pop_front();
        }
        let used: u64 = calls.iter().map(|(_, cost)| cost).sum();
        let blocked = used.saturating_add(limit.cost_milli_tstu) > limit.limit_milli_tstu;
        if !blocked {
            calls.push_back((now, limit.cost_milli_tstu));
        }
        let used = if blocked {
            used
        } else {
            used.saturating_add(limit.cost_milli_tstu)
        };
        let reset = calls
            .front()
            .map_or(now, |(time, _)| time.saturating_add(WINDOW_SECONDS));
        let mut headers = HeaderMap::new();
        if blocked || used.saturating_mul(2) > limit.limit_milli_tstu {
            headers = rate_headers(limit, limit.limit_milli_tstu.saturating_sub(used), reset);
        }
        if blocked {
            put(&mut headers, RETRY_AFTER, &(reset - now).max(1).to_string());
        }
        Charge { blocked, headers }
    }
}

/// The headers of a user near or over the limit. `X-RateLimit-Delay` comes with real delays only.
pub(super) fn rate_headers(limit: RateLimit, remaining: u64, reset: i64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(
        &mut headers,
        HeaderName::from_static("x-ratelimit-resource"),
        RESOURCE,
    );
    put(
        &mut headers,
        HeaderName::from_static("x-ratelimit-limit"),
        &(limit.limit_milli_tstu / 1_000).to_string(),
    );
    put(
        &mut headers,
        HeaderName::from_static("x-ratelimit-remaining"),
        &(remaining / 1_000).to_string(),
    );
    put(
        &mut headers,
        HeaderName::from_static("x-ratelimit-reset"),
        &reset.to_string(),
    );
    headers
}

pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_above_the_limit_until_the_window_has_moved_on() {
        let limit = RateLimit {
            limit_milli_tstu: 2_000,
            cost_milli_tstu: 1_000,
        };
        let mut usage = Usage::default();
        let start = Timestamp::from_second(1_000_000).unwrap();
        let first = usage.charge("a", limit, start);
        assert!(!first.blocked && first.headers.is_empty());
        let second = usage.charge("a", limit, start);
        assert!(!second.blocked);
        assert_eq!(second.headers["x-ratelimit-remaining"], "0");
        assert!(!second.headers.contains_key("retry-after"));
        let third = usage.charge("a", limit, Timestamp::from_second(1_000_100).unwrap());
        assert!(third.blocked);
        assert_eq!(third.headers["retry-after"], "200");
        assert!(
            !usage.charge("b", limit, start).blocked,
            "another user has a budget of their own"
        );
        assert!(
            !usage
                .charge("a", limit, Timestamp::from_second(1_000_300).unwrap())
                .blocked
        );
    }
}
