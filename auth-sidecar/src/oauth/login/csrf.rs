//! The CSRF token that binds the consent form to the browser that received it.
//!
//! The browser has a random value in a `__Host-` cookie. The form contains a sealed token with the hash of that
//! value and of the request. Another site can neither read nor set the cookie. A token from another browser contains
//! the hash of another value.

use axum::http::HeaderMap;
use axum::http::header::{ORIGIN, REFERER};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use behalf_runtime::digest_of_parts;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::base64url::is_base64url_of;
use crate::keys::{KeyringHandle, Purpose, Random, SealError, random_bytes};

/// Name of the cookie with the browser's random value.
pub(crate) const COOKIE_NAME: &str = "__Host-behalf-csrf";

/// Lifetime of the cookie. It exceeds the lifetime of a form, so that forms in other tabs stay valid.
pub(crate) const COOKIE_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// Length of a value in bytes. 256 random bits cannot be guessed.
const VALUE_LENGTH: usize = 32;

/// Returns a new value for the cookie.
pub(crate) fn new_value(random: &dyn Random) -> String {
    BASE64URL.encode(random_bytes::<VALUE_LENGTH>(random))
}

/// True for a text with the form of a value from [`new_value`].
pub(crate) fn is_value(text: &str) -> bool {
    is_base64url_of(VALUE_LENGTH, text)
}

/// The content of the form's hidden field.
#[derive(Serialize, Deserialize)]
struct CsrfToken {
    #[serde(rename = "b")]
    binding: String,
}

/// Seals the token for a form that contains `request`, in the browser whose cookie has `value`.
pub(crate) fn issue(keyring: &KeyringHandle, value: &str, request: &str) -> Result<String, SealError> {
    let binding = binding(value, request);
    keyring.seal(Purpose::Csrf, &CsrfToken { binding })
}

/// True when `token` was issued for this browser and this request. The request contains its own expiry.
pub(crate) fn verify(keyring: &KeyringHandle, token: &str, value: &str, request: &str) -> bool {
    keyring
        .open::<CsrfToken>(Purpose::Csrf, token)
        .is_ok_and(|token| {
            let is_bound = bool::from(token.binding.as_bytes().ct_eq(binding(value, request).as_bytes()));
            is_bound && is_value(value)
        })
}

fn binding(value: &str, request: &str) -> String {
    BASE64URL.encode(digest_of_parts(&[value, request]))
}

/// True unless a header shows that another site sent the form. Pages cannot forge `Sec-Fetch-Site`, `Origin` or
/// `Referer`. Programs that are no browsers send none of them, and still need the token and its cookie.
///
/// The consent page has the referrer policy `no-referrer`, with which browsers send `Origin: null` (Fetch, section
/// 3.2). That origin is accepted only together with `Sec-Fetch-Site: same-origin`.
pub(crate) fn is_same_origin(headers: &HeaderMap, issuer: &str) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("unreadable"))
    };
    let site = text("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match (text(ORIGIN.as_str()), text(REFERER.as_str())) {
        (Some("null"), _) => site.is_some(),
        (Some(origin), _) => origin == issuer,
        (None, Some(referer)) => {
            Url::parse(referer).is_ok_and(|referer| referer.origin().ascii_serialization() == issuer)
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ISSUER: &str = "https://mcp.contoso.example";

    #[rstest]
    #[case::chromium(&[("sec-fetch-site", "same-origin"), ("origin", "null")], true)]
    #[case::with_origin(&[("sec-fetch-site", "same-origin"), ("origin", ISSUER)], true)]
    #[case::no_browser(&[], true)]
    #[case::old_browser(&[("origin", ISSUER)], true)]
    #[case::referer_only(&[("referer", "https://mcp.contoso.example/authorize?x")], true)]
    #[case::cross_site(&[("sec-fetch-site", "cross-site"), ("origin", ISSUER)], false)]
    #[case::same_site(&[("sec-fetch-site", "same-site"), ("origin", ISSUER)], false)]
    #[case::user_typed(&[("sec-fetch-site", "none")], false)]
    #[case::foreign_origin(&[("origin", "https://evil.example")], false)]
    #[case::foreign_origin_lies(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false)]
    #[case::null_alone(&[("origin", "null")], false)]
    #[case::longer_origin(&[("origin", "https://mcp.contoso.example.evil.example")], false)]
    #[case::foreign_referer(&[("referer", "https://evil.example/https://mcp.contoso.example")], false)]
    #[case::broken_referer(&[("referer", "mcp.contoso.example")], false)]
    fn only_the_consent_page_of_this_server_may_send_the_form(
        #[case] headers: &[(&'static str, &str)],
        #[case] expected: bool,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        assert_eq!(is_same_origin(&headers, ISSUER), expected);
    }
}
