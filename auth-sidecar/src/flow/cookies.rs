//! Cookies of the browser.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;

/// Cookies that are looked at; a browser sends no more of ours.
const MOST: usize = 64;

/// The cookies of one request.
pub(crate) struct Cookies<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Cookies<'a> {
    /// Reads `Cookie` (RFC 6265, section 5.4). HTTP/2 may split it into several headers.
    pub(crate) fn read(headers: &'a HeaderMap) -> Self {
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .take(MOST);
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| *value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }
}

/// `Set-Cookie` of a `__Host-` cookie. `Lax`: the callback is a navigation that another site begins.
pub(crate) fn set(name: &str, value: &str, lifetime: SignedDuration) -> Option<HeaderValue> {
    let seconds = lifetime.as_secs();
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&cookie).ok()
}

/// `Set-Cookie` that removes a cookie.
pub(crate) fn remove(name: &str) -> Option<HeaderValue> {
    set(name, "", SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cookies_from_one_header_and_from_several() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; b=x=y;broken; c="));
        headers.append(COOKIE, HeaderValue::from_static("d=4"));
        headers.append(COOKIE, HeaderValue::from_bytes(b"e=\xff").unwrap());
        let cookies = Cookies::read(&headers);
        assert_eq!(cookies.get("a"), Some("1"));
        assert_eq!(cookies.get("b"), Some("x=y"));
        assert_eq!(cookies.get("c"), Some(""));
        assert_eq!(cookies.get("d"), Some("4"));
        assert_eq!((cookies.get("broken"), cookies.get("e")), (None, None));
    }

    #[test]
    fn cookies_are_bound_to_the_host_and_out_of_reach_of_scripts() {
        let cookie = set("__Host-x", "v", SignedDuration::from_mins(10)).unwrap();
        assert_eq!(
            cookie,
            "__Host-x=v; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            remove("__Host-x").unwrap(),
            "__Host-x=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        );
    }
}
