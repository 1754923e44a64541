//! Failures on command: which call, how often, and what goes wrong.

use http::Method;
use serde::{Deserialize, Serialize};

/// Something that goes wrong with the next calls that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which calls.
    #[serde(default)]
    pub calls: Calls,

    /// Number of calls. Absent: one. Null: all, until the fault is removed.
    #[serde(default = "once")]
    pub times: Option<u32>,

    /// The effect.
    pub action: Action,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the type of the field that it is the default of"
)]
fn once() -> Option<u32> {
    Some(1)
}

impl Fault {
    /// The next call, whichever it is.
    pub fn once(action: Action) -> Self {
        Self {
            calls: Calls::default(),
            times: Some(1),
            action,
        }
    }

    /// Every call until the fault is taken away.
    pub fn always(action: Action) -> Self {
        Self {
            calls: Calls::default(),
            times: None,
            action,
        }
    }

    /// Only calls like these.
    #[must_use]
    pub fn on(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// Only this number of calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// The calls that a fault matches. An absent member matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Calls {
    /// HTTP method, upper case.
    pub method: Option<String>,

    /// A part of the path, without regard to case: `/timeline`, `/_apis/release/`.
    pub path_contains: Option<String>,

    /// `oid` of the verified user. Calls with a refused token have none.
    pub object_id: Option<String>,
}

impl Calls {
    /// Calls whose path contains `part`.
    pub fn to(part: &str) -> Self {
        Self {
            path_contains: Some(part.to_owned()),
            ..Self::default()
        }
    }

    /// Calls of this user.
    pub fn of(object_id: &str) -> Self {
        Self {
            object_id: Some(object_id.to_owned()),
            ..Self::default()
        }
    }

    /// Only with this method.
    #[must_use]
    pub fn with_method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    fn matches(&self, method: &Method, path: &str, object_id: Option<&str>) -> bool {
        self.method
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()))
            && self
                .path_contains
                .as_deref()
                .is_none_or(|part| path.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
            && self
                .object_id
                .as_deref()
                .is_none_or(|wanted| object_id.is_some_and(|oid| oid.eq_ignore_ascii_case(wanted)))
    }
}

/// The effect of a fault. Unless stated otherwise the call is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Action {
    /// 429 with `TF400733`, the rate headers and, when given, `Retry-After`.
    Throttle {
        /// Seconds for `Retry-After`.
        retry_after_seconds: Option<u32>,
    },

    /// The answer comes late but comes: 200 with `X-RateLimit-Delay` and, when given, `Retry-After`.
    Delay {
        /// Delay in milliseconds.
        milliseconds: u64,

        /// Seconds for `Retry-After` on the good answer.
        retry_after_seconds: Option<u32>,
    },

    /// 503 with a body that says nothing.
    Unavailable {
        /// Seconds for `Retry-After`.
        retry_after_seconds: Option<u32>,
    },

    /// 203 with the sign-in page although the token is good.
    SignInPage,

    /// 302 to the sign-in page although the token is good.
    SignInRedirect,

    /// 401 with `TF400813` although the token is good.
    Unauthorized,

    /// 401 with `insufficient_claims`: continuous access evaluation wants the user back.
    ClaimsChallenge {
        /// The claims, as JSON text; sent base64-encoded.
        claims: String,
    },

    /// 200, and a list without members.
    EmptyList,

    /// 200, and a list of runs with about 1 KiB each.
    LongList {
        /// Number of runs.
        runs: usize,
    },

    /// 200 without a body.
    EmptyBody,

    /// 200 with a body that is not JSON although it says so.
    BrokenJson,

    /// Any error in the service's JSON shape; an empty `type_key` gives the wrapped one.
    Error {
        /// HTTP status.
        status: u16,

        /// `typeKey`.
        type_key: String,

        /// `message`.
        message: String,
    },

    /// Any status with a text body.
    Text {
        /// HTTP status.
        status: u16,

        /// `Content-Type`.
        content_type: String,

        /// The body.
        body: String,
    },

    /// The connection ends without an answer, and nothing was done.
    Reset,

    /// The call is carried out, then the connection ends without an answer.
    ResetAfterwards,

    /// The call is carried out; its answer trickles.
    SlowBody {
        /// Bytes per piece.
        chunk_bytes: usize,

        /// Pause between pieces, in milliseconds.
        pause_milliseconds: u64,
    },

    /// The call is carried out; its answer breaks off.
    CutBody {
        /// Bytes that still arrive.
        after_bytes: usize,
    },
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn all(&self) -> &[Fault] {
        &self.0
    }

    /// The oldest fault that matches, counted down.
    pub(super) fn take(&mut self, method: &Method, path: &str, object_id: Option<&str>) -> Option<Action> {
        let index = self
            .0
            .iter()
            .position(|fault| fault.times != Some(0) && fault.calls.matches(method, path, object_id))?;
        let fault = self.0.get_mut(index)?;
        let action = fault.action.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.0.remove(index);
            }
        }
        Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_for_its_calls_and_its_number_of_times() {
        let mut faults = Faults::default();
        faults.add(
            Fault::once(Action::Reset)
                .on(Calls::to("/Timeline").with_method("GET"))
                .times(2),
        );
        let timeline = "/contoso/shop/_apis/build/builds/638/timeline";
        assert_eq!(faults.take(&Method::POST, timeline, None), None);
        assert_eq!(faults.take(&Method::GET, "/contoso/_apis/projects", None), None);
        assert_eq!(faults.take(&Method::GET, timeline, None), Some(Action::Reset));
        assert_eq!(faults.take(&Method::GET, timeline, None), Some(Action::Reset));
        assert_eq!(faults.take(&Method::GET, timeline, None), None);
        assert!(faults.all().is_empty());
    }

    #[test]
    fn a_fault_of_one_user_leaves_the_others_alone() {
        let mut faults = Faults::default();
        faults.add(Fault::always(Action::SignInPage).on(Calls::of("A")));
        assert_eq!(faults.take(&Method::GET, "/", Some("b")), None);
        assert_eq!(faults.take(&Method::GET, "/", None), None);
        assert_eq!(
            faults.take(&Method::GET, "/", Some("a")),
            Some(Action::SignInPage)
        );
    }

    #[test]
    fn a_fault_without_a_number_is_for_one_call_and_null_is_for_all() {
        let read = |json: &str| serde_json::from_str::<Fault>(json).unwrap();
        assert_eq!(read(r#"{"action":{"type":"reset"}}"#), Fault::once(Action::Reset));
        assert_eq!(
            read(r#"{"action":{"type":"reset"},"times":null}"#),
            Fault::always(Action::Reset)
        );
        let throttle = Action::Throttle {
            retry_after_seconds: Some(3),
        };
        let calls =
            r#"{"calls":{"pathContains":"/timeline"},"action":{"type":"throttle","retryAfterSeconds":3}}"#;
        assert_eq!(read(calls), Fault::once(throttle).on(Calls::to("/timeline")));
    }
}
