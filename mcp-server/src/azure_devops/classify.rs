//! Classifies answers of Azure DevOps. The status alone is not enough: a refused token is 203 with a sign-in
//! page, and a hidden project is 400 or 404. Errors are distinguished by `typeKey` and by the codes in their
//! messages.

use std::time::Duration;

use behalf_runtime::has_media_type;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::challenge::claims_challenge;
use super::service_error::ServiceError;
use super::transport::Wanted;

/// An answer other than the requested one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unexpected {
    /// The token is missing, expired or refused. `claims` is a challenge of Conditional Access.
    TokenRefused { claims: Option<String> },

    /// The user sent too many requests. The service did not execute this one.
    Throttled { after: Option<Duration> },

    /// The service or a proxy before it is down. It may have executed a write.
    Unavailable { status: u16, after: Option<Duration> },

    /// The user belongs to another tenant than the organization, often as a guest.
    TenantMismatch,

    /// The user has never opened Azure DevOps in a browser.
    NeverSignedIn,

    /// The project does not exist, or is hidden from the user.
    NoProject,

    /// The resource does not exist, or is hidden from the user.
    NotFound(Option<String>),

    /// The user lacks a permission.
    Denied(Option<String>),

    /// The service rejects the request: a parameter is wrong, or a pipeline file does not parse.
    Invalid { status: u16, message: Option<String> },
}

/// Returns `Ok` for the requested answer. The body of an error may be cut off. The body of a success is only
/// tested for emptiness.
pub(super) fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: Wanted,
    body: &[u8],
) -> Result<(), Unexpected> {
    if status.is_success() {
        return classify_success(status, headers, wanted, body);
    }
    if status.is_redirection() {
        return Err(Unexpected::TokenRefused { claims: None });
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Unexpected::Throttled {
            after: retry_after(headers),
        });
    }
    let error = ServiceError::parse(headers, body);
    if status == StatusCode::REQUEST_TIMEOUT || (status.is_server_error() && error.type_key.is_none()) {
        return Err(Unexpected::Unavailable {
            status: status.as_u16(),
            after: retry_after(headers),
        });
    }
    Err(classify_error(status, headers, error))
}

fn classify_success(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: Wanted,
    body: &[u8],
) -> Result<(), Unexpected> {
    let sign_in = Err(Unexpected::TokenRefused { claims: None });
    if status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
        return sign_in;
    }
    if body.is_empty() {
        return Ok(());
    }
    let fits = match wanted {
        Wanted::Json => has_media_type(headers, "application/json"),
        Wanted::Text => !has_media_type(headers, "text/html"),
    };
    if fits { Ok(()) } else { sign_in }
}

/// Returns true for the only successful answer to a request that was certainly not executed. Azure DevOps
/// sends it instead of 401.
pub(super) fn is_sign_in_page(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::NON_AUTHORITATIVE_INFORMATION && has_media_type(headers, "text/html")
}

fn classify_error(status: StatusCode, headers: &HeaderMap, error: ServiceError) -> Unexpected {
    let key = error.type_key.as_deref().unwrap_or_default();
    let has = |code: &str| {
        error
            .message
            .as_deref()
            .is_some_and(|message| message.contains(code))
    };
    if has("VS30063") {
        return Unexpected::TenantMismatch;
    }
    if has("TF401444") {
        return Unexpected::NeverSignedIn;
    }
    if status == StatusCode::UNAUTHORIZED {
        return Unexpected::TokenRefused {
            claims: claims_challenge(headers),
        };
    }
    if has("TF400733") {
        return Unexpected::Throttled {
            after: retry_after(headers),
        };
    }
    if key.starts_with("ProjectDoesNotExist") || has("VS800075") {
        return Unexpected::NoProject;
    }
    if key == "UnauthorizedRequestException" || has("TF400813") {
        return Unexpected::TokenRefused { claims: None };
    }
    if key == "AccessDeniedException" || has("TF215106") || status == StatusCode::FORBIDDEN {
        return Unexpected::Denied(error.shown());
    }
    if status == StatusCode::NOT_FOUND || key.ends_with("NotFoundException") {
        return Unexpected::NotFound(error.shown());
    }
    Unexpected::Invalid {
        status: status.as_u16(),
        message: error.shown(),
    }
}

/// Reads `Retry-After` in seconds. Azure DevOps sends no dates there.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    // One day: longer waits are not honoured, and the conversion cannot fail.
    (0.0..=86_400.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
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

    fn json(status: u16, body: &str) -> Result<(), Unexpected> {
        let headers = headers(&[("content-type", "application/json; charset=utf-8")]);
        classify(
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
    fn any_form_of_the_sign_in_page_is_a_refused_token(#[case] status: u16, #[case] content_type: &str) {
        let answer = classify(
            StatusCode::from_u16(status).unwrap(),
            &headers(&[("content-type", content_type)]),
            Wanted::Json,
            b"<html>",
        );
        assert_eq!(answer, Err(Unexpected::TokenRefused { claims: None }));
    }

    #[test]
    fn a_success_without_a_body_is_a_success() {
        assert_eq!(
            classify(StatusCode::NO_CONTENT, &headers(&[]), Wanted::Json, b""),
            Ok(())
        );
    }

    #[rstest]
    #[case(
        400,
        r#"{"message":"VS800075: The project does not exist","typeKey":"ProjectDoesNotExistException"}"#,
        Unexpected::NoProject
    )]
    #[case(
        404,
        r#"{"message":"TF200016: none","typeKey":"ProjectDoesNotExistWithNameException"}"#,
        Unexpected::NoProject
    )]
    #[case(401, r#"{"message":"TF400813: The user is not authorized","typeKey":"UnauthorizedRequestException"}"#, Unexpected::TokenRefused { claims: None })]
    #[case(
        401,
        r#"{"message":"VS30063: You are not authorized to access https://dev.azure.com."}"#,
        Unexpected::TenantMismatch
    )]
    #[case(
        403,
        r#"{"message":"TF401444: Please sign-in at least once","typeKey":"X"}"#,
        Unexpected::NeverSignedIn
    )]
    #[case(400, r#"{"count":1,"value":{"Message":"no such status"}}"#, Unexpected::Invalid { status: 400, message: Some("no such status".to_owned()) })]
    #[case(500, r#"{"message":"odd","typeKey":"ArgumentException"}"#, Unexpected::Invalid { status: 500, message: Some("odd".to_owned()) })]
    #[case(503, "<html>", Unexpected::Unavailable { status: 503, after: None })]
    #[case(404, "", Unexpected::NotFound(None))]
    fn distinguishes_errors_by_key_and_code(
        #[case] status: u16,
        #[case] body: &str,
        #[case] expected: Unexpected,
    ) {
        assert_eq!(json(status, body), Err(expected));
    }

    #[test]
    fn relays_the_name_of_a_missing_permission_without_mail_addresses() {
        let body = r#"{"message":"TF215106: Access denied. Ana (ana@contoso.example) needs Queue builds\r\n permissions.","typeKey":"AccessDeniedException"}"#;
        let Err(Unexpected::Denied(Some(message))) = json(403, body) else {
            panic!("not denied")
        };
        assert!(message.contains("Queue builds permissions"), "{message}");
        assert!(!message.contains("ana@contoso"), "{message}");
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_error() {
        assert_eq!(
            json(404, "\u{feff}{\"message\":\"gone\"}"),
            Err(Unexpected::NotFound(Some("gone".to_owned())))
        );
    }

    #[rstest]
    #[case("5", Some(5_000))]
    #[case("0.25", Some(250))]
    #[case("-1", None)]
    #[case("NaN", None)]
    #[case("1e300", None)]
    #[case("Wed, 01 Apr 2026 10:00:00 GMT", None)]
    fn reads_retry_after_in_seconds(#[case] value: &str, #[case] milliseconds: Option<u64>) {
        assert_eq!(
            retry_after(&headers(&[("retry-after", value)])),
            milliseconds.map(Duration::from_millis)
        );
    }
}
