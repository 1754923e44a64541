//! Reads and writes the browser's cookies.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;

/// Name of the cookie with the approvals that the browser remembers.
pub(crate) const APPROVALS: &str = "__Host-MCP_APPROVED_CLIENTS";

/// Prefixes of the names of our cookies. A sibling site can set cookies for this host under any other name (RFC
/// 6265, section 8.6), but none with `__Host-` (RFC 6265bis, section 4.1.3.2).
const NAME_PREFIXES: [&str; 2] = ["__Host-behalf-", APPROVALS];

/// Maximum number of our cookies that are read. A browser has one for forms, one for approvals
/// and at most four for sign-ins.
const MAX_COOKIES: usize = 64;

/// Our cookies of one request. Other cookies are ignored and do not count.
pub(crate) struct Cookies<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Cookies<'a> {
    /// Reads `Cookie` (RFC 6265, section 5.4). HTTP/2 may split it into several headers.
    pub(crate) fn read(headers: &'a HeaderMap) -> Self {
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
            // Only SP and TAB: `str::trim` also removes U+2003, and a browser lets a sibling site set a cookie with
            // that character before `__Host-`.
            .map(<[u8]>::trim_ascii)
            .filter(|pair| {
                NAME_PREFIXES
                    .iter()
                    .any(|prefix| pair.starts_with(prefix.as_bytes()))
            })
            // Parses each pair alone: an invalid cookie of a sibling site must not hide ours.
            .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
            .take(MAX_COOKIES);
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

/// Returns the `Set-Cookie` of a `__Host-` cookie. It is `SameSite=Lax`, because the callback is a navigation that
/// another site (Entra) begins.
pub(crate) fn set(name: &str, value: &str, lifetime: SignedDuration) -> Option<HeaderValue> {
    let seconds = lifetime.as_secs();
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&cookie).ok()
}

/// Returns the `Set-Cookie` that removes a cookie.
pub(crate) fn remove(name: &str) -> Option<HeaderValue> {
    set(name, "", SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cookies_from_one_header_and_from_several() {
        let mut headers = HeaderMap::new();
        let first = "__Host-behalf-a=1; __Host-behalf-b=x=y;broken; __Host-behalf-c=";
        headers.append(COOKIE, HeaderValue::from_static(first));
        headers.append(COOKIE, HeaderValue::from_static("__Host-behalf-d=4"));
        headers.append(COOKIE, HeaderValue::from_bytes(b"__Host-behalf-e=\xff").unwrap());
        let cookies = Cookies::read(&headers);
        assert_eq!(cookies.get("__Host-behalf-a"), Some("1"));
        assert_eq!(cookies.get("__Host-behalf-b"), Some("x=y"));
        assert_eq!(cookies.get("__Host-behalf-c"), Some(""));
        assert_eq!(cookies.get("__Host-behalf-d"), Some("4"));
        assert_eq!(
            (cookies.get("broken"), cookies.get("__Host-behalf-e")),
            (None, None)
        );
    }

    #[test]
    fn a_cookie_of_another_site_that_is_not_ascii_leaves_ours_readable() {
        for foreign in ["x=é".as_bytes(), b"x=\xff"] {
            let header = [foreign, b"; __Host-behalf-a=1;\t__Host-behalf-b=2"].concat();
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(&header).unwrap());
            let cookies = Cookies::read(&headers);
            assert_eq!(cookies.get("__Host-behalf-a"), Some("1"));
            assert_eq!(cookies.get("__Host-behalf-b"), Some("2"));
        }
    }

    #[test]
    fn a_name_with_a_unicode_space_before_the_prefix_is_not_ours() {
        let header = "\u{2003}__Host-behalf-csrf=x; \u{a0}__Host-behalf-csrf=y";
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(header.as_bytes()).unwrap());
        assert_eq!(Cookies::read(&headers).iter().count(), 0);
    }

    #[test]
    fn foreign_cookies_do_not_count_against_the_limit_of_ours() {
        let foreign = "sibling=x; ".repeat(500);
        let ours: Vec<_> = (0..100).map(|n| format!("__Host-behalf-{n}=y")).collect();
        let ours = ours.join("; ");
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("{foreign}{ours}").parse().unwrap());
        let cookies = Cookies::read(&headers);
        assert_eq!(cookies.get("__Host-behalf-0"), Some("y"));
        assert_eq!(cookies.iter().count(), MAX_COOKIES);
    }

    #[test]
    fn cookies_are_bound_to_the_host_and_hidden_from_scripts() {
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
