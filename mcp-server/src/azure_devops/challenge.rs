//! Reads the claims challenge of Conditional Access from `WWW-Authenticate`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde::de::IgnoredAny;

/// Returns the claims that Conditional Access requires: base64 of a JSON object, beside
/// `error="insufficient_claims"`. An answer may have several `WWW-Authenticate` headers, each with its
/// parameters in any order.
pub(super) fn claims_challenge(headers: &HeaderMap) -> Option<String> {
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

/// Returns the value of a quoted parameter of a challenge.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn reads_the_claims_of_a_challenge_in_any_order() {
        let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
        let header = format!(
            r#"Bearer realm="", claims="{}", authorization_uri="https://login.contoso.example", error="insufficient_claims""#,
            STANDARD.encode(claims)
        );
        let headers = headers(&["Basic realm=\"x\"", &header]);
        assert_eq!(claims_challenge(&headers).as_deref(), Some(claims));
    }

    #[rstest]
    #[case(r#"Bearer error="insufficient_claims", claims="bm90IGpzb24=""#)]
    #[case(r#"Bearer error="invalid_token", claims="e30=""#)]
    #[case(r#"Bearer error="insufficient_claims""#)]
    fn finds_no_claims_in_another_challenge(#[case] header: &str) {
        assert_eq!(claims_challenge(&headers(&[header])), None);
    }
}
