//! What an answer of Azure DevOps means. The status alone does not tell: a refused token is 203 with a
//! sign-in page, a hidden project is 400 or 404, so errors are told apart by `typeKey` and by the codes in
//! their messages.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::redact;

/// The longest message that is relayed, in characters.
const LONGEST_MESSAGE: usize = 1_000;

/// The kind of answer that the caller requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Json,
    Text,
}

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// The token is missing, expired or refused; `claims` is a challenge of Conditional Access.
    SignIn { claims: Option<String> },

    /// Too many requests; nothing was done.
    Throttled { after: Option<Duration> },

    /// The service or something before it is down; a write may have been done.
    Unavailable { status: u16, after: Option<Duration> },

    /// The user belongs to another tenant than the organisation, often as a guest.
    TenantMismatch,

    /// The user has never opened Azure DevOps in a browser.
    NeverSignedIn,

    /// The project does not exist, or the user may not see it.
    NoProject,

    /// The thing does not exist, or the user may not see it.
    NotFound(Option<String>),

    /// A permission is missing.
    Denied(Option<String>),

    /// The request makes no sense to the service: a wrong parameter, a pipeline that does not parse.
    Invalid { status: u16, message: Option<String> },
}

/// Decides what an answer is. `body` may be cut; of a success it is not looked at.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: Wanted,
    body: &[u8],
) -> Result<(), Unwanted> {
    if status.is_success() {
        return judge_success(status, headers, wanted, body);
    }
    if status.is_redirection() {
        return Err(Unwanted::SignIn { claims: None });
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Unwanted::Throttled {
            after: retry_after(headers),
        });
    }
    let error = ServiceError::parse(headers, body);
    if status == StatusCode::REQUEST_TIMEOUT || (status.is_server_error() && error.type_key.is_none()) {
        return Err(Unwanted::Unavailable {
            status: status.as_u16(),
            after: retry_after(headers),
        });
    }
    Err(judge_error(status, headers, error))
}

fn judge_success(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: Wanted,
    body: &[u8],
) -> Result<(), Unwanted> {
    let sign_in = Err(Unwanted::SignIn { claims: None });
    if status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
        return sign_in;
    }
    if body.is_empty() {
        return Ok(());
    }
    let content_type = content_type(headers);
    let fits = match wanted {
        Wanted::Json => content_type == "application/json",
        Wanted::Text => content_type != "text/html",
    };
    if fits { Ok(()) } else { sign_in }
}

/// True for the one successful answer that certainly did nothing: Azure DevOps sends it in place of 401.
pub(crate) fn is_sign_in_page(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::NON_AUTHORITATIVE_INFORMATION && content_type(headers) == "text/html"
}

fn judge_error(status: StatusCode, headers: &HeaderMap, error: ServiceError) -> Unwanted {
    let key = error.type_key.as_deref().unwrap_or_default();
    let has = |code: &str| {
        error
            .message
            .as_deref()
            .is_some_and(|message| message.contains(code))
    };
    if has("VS30063") {
        return Unwanted::TenantMismatch;
    }
    if has("TF401444") {
        return Unwanted::NeverSignedIn;
    }
    if status == StatusCode::UNAUTHORIZED {
        return Unwanted::SignIn {
            claims: claims_challenge(headers),
        };
    }
    if has("TF400733") {
        return Unwanted::Throttled {
            after: retry_after(headers),
        };
    }
    if key.starts_with("ProjectDoesNotExist") || has("VS800075") {
        return Unwanted::NoProject;
    }
    if key == "UnauthorizedRequestException" || has("TF400813") {
        return Unwanted::SignIn { claims: None };
    }
    if key == "AccessDeniedException" || has("TF215106") || status == StatusCode::FORBIDDEN {
        return Unwanted::Denied(error.shown());
    }
    if status == StatusCode::NOT_FOUND || key.ends_with("NotFoundException") {
        return Unwanted::NotFound(error.shown());
    }
    Unwanted::Invalid {
        status: status.as_u16(),
        message: error.shown(),
    }
}

/// `Retry-After` in seconds; Azure DevOps sends no dates there.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    // A day is longer than anybody waits; it also keeps the conversion from failing.
    (0.0..=86_400.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The claims that Conditional Access asks for: `error="insufficient_claims"` beside base64 of JSON. Several
/// headers may come, in each the parameters in any order.
fn claims_challenge(headers: &HeaderMap) -> Option<String> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let value = value.to_str().ok()?;
        if parameter(value, "error")? != "insufficient_claims" {
            return None;
        }
        let encoded = parameter(value, "claims")?;
        let json = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
            .iter()
            .find_map(|engine| engine.decode(encoded).ok())?;
        let json = String::from_utf8(json).ok()?;
        // The claims must be an object. Entra validates its content.
        let is_object =
            json.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(&json).is_ok();
        is_object.then_some(json)
    })
}

/// A quoted parameter of a challenge.
fn parameter<'value>(challenge: &'value str, name: &str) -> Option<&'value str> {
    challenge.match_indices(name).find_map(|(at, _)| {
        let before = challenge.get(..at)?.chars().next_back();
        if !before.is_none_or(|character| character == ' ' || character == ',') {
            return None;
        }
        let rest = challenge.get(at + name.len()..)?.strip_prefix("=\"")?;
        rest.split_once('"').map(|(value, _)| value)
    })
}

/// The error body in its three shapes: an object, an object wrapped as a list, or text.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServiceError {
    type_key: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(rename = "typeKey")]
    type_key: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
    value: Option<Box<ErrorObject>>,
}

impl ServiceError {
    fn parse(headers: &HeaderMap, body: &[u8]) -> Self {
        let body = without_bom(body);
        if let Ok(object) = serde_json::from_slice::<ErrorObject>(body) {
            let object = match object {
                ErrorObject {
                    message: None,
                    value: Some(inner),
                    ..
                } => *inner,
                other => other,
            };
            return Self {
                type_key: object.type_key,
                message: object.message,
            };
        }
        if content_type(headers) == "text/plain" {
            let message = String::from_utf8_lossy(body).trim().to_owned();
            return Self {
                type_key: None,
                message: (!message.is_empty()).then_some(message),
            };
        }
        Self::default()
    }

    /// The message as a model may see it.
    fn shown(self) -> Option<String> {
        self.message
            .map(|message| redact::line(&redact::cut(&one_line(&message), LONGEST_MESSAGE)))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A UTF-8 byte order mark may lead a body.
pub(crate) fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn json(status: u16, body: &str) -> Result<(), Unwanted> {
        let headers = headers(&[("content-type", "application/json; charset=utf-8")]);
        judge(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            Wanted::Json,
            body.as_bytes(),
        )
    }

    #[rstest]
    #[case(203, "application/json")]
    #[case(203, "text/html")]
    #[case(200, "text/html; charset=utf-8")]
    #[case(200, "text/plain")]
    #[case(302, "text/html")]
    fn a_sign_in_page_in_any_form_is_a_refused_token(#[case] status: u16, #[case] content_type: &str) {
        let answer = judge(
            StatusCode::from_u16(status).unwrap(),
            &headers(&[("content-type", content_type)]),
            Wanted::Json,
            b"<html>",
        );
        assert_eq!(answer, Err(Unwanted::SignIn { claims: None }));
    }

    #[test]
    fn a_success_without_a_body_is_a_success() {
        assert_eq!(
            judge(StatusCode::NO_CONTENT, &headers(&[]), Wanted::Json, b""),
            Ok(())
        );
    }

    #[rstest]
    #[case(
        400,
        r#"{"message":"VS800075: The project does not exist","typeKey":"ProjectDoesNotExistException"}"#,
        Unwanted::NoProject
    )]
    #[case(
        404,
        r#"{"message":"TF200016: none","typeKey":"ProjectDoesNotExistWithNameException"}"#,
        Unwanted::NoProject
    )]
    #[case(401, r#"{"message":"TF400813: The user is not authorized","typeKey":"UnauthorizedRequestException"}"#, Unwanted::SignIn { claims: None })]
    #[case(
        401,
        r#"{"message":"VS30063: You are not authorized to access https://dev.azure.com."}"#,
        Unwanted::TenantMismatch
    )]
    #[case(
        403,
        r#"{"message":"TF401444: Please sign-in at least once","typeKey":"X"}"#,
        Unwanted::NeverSignedIn
    )]
    #[case(400, r#"{"count":1,"value":{"Message":"no such status"}}"#, Unwanted::Invalid { status: 400, message: Some("no such status".to_owned()) })]
    #[case(500, r#"{"message":"odd","typeKey":"ArgumentException"}"#, Unwanted::Invalid { status: 500, message: Some("odd".to_owned()) })]
    #[case(503, "<html>", Unwanted::Unavailable { status: 503, after: None })]
    #[case(404, "", Unwanted::NotFound(None))]
    fn errors_are_told_apart_by_their_key(
        #[case] status: u16,
        #[case] body: &str,
        #[case] expected: Unwanted,
    ) {
        assert_eq!(json(status, body), Err(expected));
    }

    #[test]
    fn a_missing_permission_is_relayed_by_name_and_a_mail_address_is_not() {
        let body = r#"{"message":"TF215106: Access denied. Ana (ana@contoso.example) needs Queue builds\r\n permissions.","typeKey":"AccessDeniedException"}"#;
        let Err(Unwanted::Denied(Some(message))) = json(403, body) else {
            panic!("not denied")
        };
        assert!(message.contains("Queue builds permissions"), "{message}");
        assert!(!message.contains("ana@contoso"), "{message}");
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_error() {
        assert_eq!(
            json(404, "\u{feff}{\"message\":\"gone\"}"),
            Err(Unwanted::NotFound(Some("gone".to_owned())))
        );
    }

    #[test]
    fn the_claims_of_a_challenge_are_read_in_any_order() {
        let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
        let header = format!(
            r#"Bearer realm="", claims="{}", authorization_uri="https://login.contoso.example", error="insufficient_claims""#,
            STANDARD.encode(claims)
        );
        let headers = headers(&[
            ("www-authenticate", "Basic realm=\"x\""),
            ("www-authenticate", &header),
        ]);
        assert_eq!(
            judge(StatusCode::UNAUTHORIZED, &headers, Wanted::Json, b""),
            Err(Unwanted::SignIn {
                claims: Some(claims.to_owned())
            })
        );
    }

    #[rstest]
    #[case(r#"Bearer error="insufficient_claims", claims="bm90IGpzb24=""#)]
    #[case(r#"Bearer error="invalid_token", claims="e30=""#)]
    #[case(r#"Bearer error="insufficient_claims""#)]
    fn what_is_no_challenge_carries_no_claims(#[case] header: &str) {
        assert_eq!(
            judge(
                StatusCode::UNAUTHORIZED,
                &headers(&[("www-authenticate", header)]),
                Wanted::Json,
                b""
            ),
            Err(Unwanted::SignIn { claims: None })
        );
    }

    #[rstest]
    #[case("5", Some(5_000))]
    #[case("0.25", Some(250))]
    #[case("-1", None)]
    #[case("NaN", None)]
    #[case("1e300", None)]
    #[case("Wed, 01 Apr 2026 10:00:00 GMT", None)]
    fn reads_retry_after(#[case] value: &str, #[case] milliseconds: Option<u64>) {
        assert_eq!(
            retry_after(&headers(&[("retry-after", value)])),
            milliseconds.map(Duration::from_millis)
        );
    }
}
