//! The media type of a message.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

/// Returns the media type without its parameters, as the sender wrote it. Its case has no meaning (RFC 9110, section 8.3.1).
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

/// Returns true if the media type is `expected`. Its parameters and its case do not count.
pub fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_count() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json ;a=b", true),
            ("application/jsonp", false),
            ("text/html; x=application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(has_media_type(&headers, "application/json"), expected, "{value}");
        }
        assert!(!has_media_type(&HeaderMap::new(), "application/json"));
    }
}
