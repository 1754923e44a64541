//! Entra's error body: how it is read and shown. The module `meaning` decides what it means.

mod description;
mod meaning;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::codes;
use description::first_line;

const MAX_CLAIMS_LENGTH: usize = 8 * 1024;

/// An error body of Entra. Contains no credential and nothing that identifies a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `error`, as of RFC 6749, section 5.2, and Entra's own.
    pub error: String,

    /// AADSTS numbers, for reasons and hints.
    pub codes: Vec<u32>,

    /// `suberror`.
    pub suberror: Option<String>,

    /// `claims`: a JSON object as text, to be sent along with the next authorize request.
    pub claims: Option<String>,

    /// `trace_id`, for a support case.
    pub trace_id: Option<String>,

    /// `correlation_id`, as in the tenant's sign-in logs.
    pub correlation_id: Option<String>,

    /// The first line of the description without mail and IP addresses, for conditions. It must not be logged.
    pub description_first_line: String,

    /// `Retry-After` of the answer.
    pub retry_after: Option<Duration>,
}

/// The members of an error body that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Lenient<String>,
    error_description: Lenient<String>,
    error_codes: Lenient<Vec<Lenient<u32>>>,
    suberror: Lenient<String>,
    claims: Lenient<String>,
    trace_id: Lenient<String>,
    correlation_id: Lenient<String>,
}

/// A member of an unexpected type is ignored; the other members are still read.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Expected(T),
    Other(IgnoredAny),
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl<T> Lenient<T> {
    fn get(self) -> Option<T> {
        match self {
            Self::Expected(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl Refusal {
    /// Parses an error body. `None` if `body` is not one.
    pub(crate) fn from_body(retry_after: Option<Duration>, body: &[u8]) -> Option<Self> {
        // `serde` would accept an array and assign its values to the members in order.
        let body = body.trim_ascii_start();
        let body: Body = serde_json::from_slice(body)
            .ok()
            .filter(|_| body.starts_with(b"{"))?;
        let error = body.error.get().filter(|error| is_token(error))?;
        let mut refusal = Self::new(&error, body.error_description.get().as_deref());
        refusal.retry_after = retry_after;
        let codes = body.error_codes.get().unwrap_or_default();
        let codes: Vec<u32> = codes.into_iter().filter_map(Lenient::get).take(8).collect();
        if !codes.is_empty() {
            refusal.codes = codes;
        }
        refusal.suberror = body.suberror.get().filter(|suberror| is_token(suberror));
        refusal.claims = body.claims.get().filter(|claims| is_json_object(claims));
        refusal.trace_id = body.trace_id.get().filter(|id| is_identifier(id));
        refusal.correlation_id = body.correlation_id.get().filter(|id| is_identifier(id));
        Some(refusal)
    }

    /// Reads the error that Entra sent with the redirect: `error` and `error_description` of the query.
    pub fn from_redirect(error: &str, description: Option<&str>) -> Self {
        Self::new(if is_token(error) { error } else { "unknown" }, description)
    }

    fn new(error: &str, description: Option<&str>) -> Self {
        let description = description.unwrap_or_default();
        Self {
            error: error.to_owned(),
            codes: codes::numbers_in(description),
            suberror: None,
            claims: None,
            trace_id: None,
            correlation_id: None,
            description_first_line: first_line(description),
            retry_after: None,
        }
    }
}

/// Prints `error`, numbers and ids. They may be logged.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.error)?;
        if let Some(suberror) = &self.suberror {
            write!(formatter, "/{suberror}")?;
        }
        for code in &self.codes {
            write!(formatter, " AADSTS{code}")?;
        }
        if let Some(trace_id) = &self.trace_id {
            write!(formatter, ", trace id {trace_id}")?;
        }
        if let Some(correlation_id) = &self.correlation_id {
            write!(formatter, ", correlation id {correlation_id}")?;
        }
        Ok(())
    }
}

/// Returns a short word of the error alphabet of RFC 6749, which is safe in a log or a header.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_json_object(text: &str) -> bool {
    text.len() <= MAX_CLAIMS_LENGTH
        && text.trim_start().starts_with('{')
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::next_step::NextStep;
    use crate::reason::SignInReason;

    fn refusal(body: &Value) -> Refusal {
        Refusal::from_body(None, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn reads_every_member_of_an_error_body() {
        let refusal = refusal(&json!({
            "error": "invalid_grant",
            "error_description": "AADSTS65001: The user or administrator has not consented to use the \
                application.\r\nTrace ID: 1f0c\r\nCorrelation ID: 7b2a\r\nTimestamp: 2026-11-02 09:14:05Z",
            "error_codes": [65_001],
            "timestamp": "2026-11-02 09:14:05Z",
            "trace_id": "1f0c",
            "correlation_id": "7b2a",
            "error_uri": "https://login.microsoftonline.com/error?code=65001",
            "suberror": "consent_required",
            "claims": "{\"access_token\":{\"polids\":{\"essential\":true,\"values\":[\"9ab0\"]}}}",
        }));
        assert_eq!(refusal.error, "invalid_grant");
        assert_eq!(refusal.codes, [65_001]);
        assert_eq!(refusal.suberror.as_deref(), Some("consent_required"));
        assert_eq!(
            refusal.claims.as_deref(),
            Some(r#"{"access_token":{"polids":{"essential":true,"values":["9ab0"]}}}"#)
        );
        assert_eq!(
            refusal.description_first_line,
            "AADSTS65001: The user or administrator has not consented to use the application."
        );
        assert_eq!(
            refusal.to_string(),
            "invalid_grant/consent_required AADSTS65001, trace id 1f0c, correlation id 7b2a"
        );
    }

    #[rstest]
    #[case(json!({"error": ""}))]
    #[case(json!({"error": "bad error"}))]
    #[case(json!({"error": "a\nb"}))]
    #[case(json!({"error": {"code": "x"}}))]
    #[case(json!({"message": "no"}))]
    #[case(json!(["error"]))]
    #[case(json!(null))]
    fn other_bodies_are_not_error_bodies(#[case] body: Value) {
        assert_eq!(Refusal::from_body(None, body.to_string().as_bytes()), None);
    }

    #[test]
    fn an_odd_optional_field_loses_only_itself() {
        let refusal = refusal(&json!({
            "error": "invalid_grant",
            "error_description": 7,
            "error_codes": ["65001", -1, 4_294_967_296_u64],
            "suberror": ["x"],
            "claims": {"access_token": {}},
            "trace_id": "<script>",
            "correlation_id": null,
        }));
        let expected = NextStep::SignInAgain {
            claims: None,
            consent: false,
        };
        assert_eq!(refusal.next_step(), expected);
        assert_eq!(
            (
                refusal.codes.len(),
                refusal.suberror,
                refusal.claims,
                refusal.trace_id,
                refusal.correlation_id
            ),
            (0, None, None, None, None)
        );
    }

    #[rstest]
    #[case("not json")]
    #[case("[1]")]
    #[case("\"text\"")]
    fn claims_that_are_no_json_object_are_dropped(#[case] claims: &str) {
        let refusal = refusal(&json!({"error": "interaction_required", "claims": claims}));
        assert_eq!(refusal.claims, None);
    }

    #[test]
    fn reads_the_numbers_from_the_description_if_there_is_no_list() {
        let refusal = Refusal::from_redirect("access_denied", Some("AADSTS65004: User declined to consent."));
        assert_eq!(refusal.codes, [65_004]);
        assert_eq!(refusal.sign_in_reason(), Some(SignInReason::ConsentDeclined));
        assert_eq!(refusal.next_step(), NextStep::Blocked);
    }
}
