//! Browsers: whose pages may call `/mcp`, and what they are told (Fetch standard, CORS protocol).
//!
//! MCP 2026-07-28 demands the check: a page of another origin must not reach a server that trusts the address
//! it is called at (DNS rebinding).

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
/// The methods of the endpoint.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE, OPTIONS");

/// How long a browser remembers a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The headers of an answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static("WWW-Authenticate, MCP-Protocol-Version, Retry-After");

/// The headers that a page may send, beside every `Mcp-*`.
const ALLOWED: [&str; 7] = [
    "accept",
    "authorization",
    "baggage",
    "content-type",
    "last-event-id",
    "traceparent",
    "tracestate",
];

/// A page of an origin that may not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign;

/// The caller: a page of this origin, or no browser.
#[derive(Debug, Clone)]
pub(super) struct Caller(Option<HeaderValue>);

impl Caller {
    /// Reads `Origin`. Pages of this server may call, and those that may call its other endpoints: `allowed`
    /// is [`crate::oauth::allowed_origin`] of the same headers.
    pub(super) fn of(
        headers: &HeaderMap,
        public_origin: &str,
        allowed: Option<HeaderValue>,
    ) -> Result<Self, Foreign> {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(Self(None)),
            (Some(origin), None) if origin == public_origin => Ok(Self(Some(origin.clone()))),
            (Some(_), None) => allowed.map(|origin| Self(Some(origin))).ok_or(Foreign),
            (Some(_), Some(_)) => Err(Foreign),
        }
    }

    /// Lets the page read the answer.
    pub(super) fn admit(&self, headers: &mut HeaderMap) {
        // Said to everyone, so that no cache hands one origin's answer to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = &self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// What a preflight is told beside that.
    pub(super) fn preflight(request: &HeaderMap, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        let asked = request
            .get(ACCESS_CONTROL_REQUEST_HEADERS)
            .and_then(|value| value.to_str().ok());
        let allowed: Vec<String> = asked
            .unwrap_or_default()
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| ALLOWED.contains(&name.as_str()) || name.starts_with("mcp-"))
            .collect();
        if let Ok(value) = HeaderValue::from_str(&allowed.join(", "))
            && !value.is_empty()
        {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "https://mcp.contoso.example";

    fn origins(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (ORIGIN, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn known_pages_may_call_and_read() {
        let inspector = HeaderValue::from_static("http://localhost:6274");
        for (headers, allowed) in [
            (origins(&[PUBLIC]), None),
            (origins(&["http://localhost:6274"]), Some(inspector)),
        ] {
            let mut answer = HeaderMap::new();
            Caller::of(&headers, PUBLIC, allowed).unwrap().admit(&mut answer);
            assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], headers[ORIGIN]);
            assert_eq!(answer[VARY], "Origin");
        }
    }

    #[test]
    fn other_pages_may_not() {
        for values in [
            &["https://evil.example"][..],
            &["null"],
            &[""],
            &["HTTPS://mcp.contoso.example"],
        ] {
            assert_eq!(
                Caller::of(&origins(values), PUBLIC, None).unwrap_err(),
                Foreign,
                "{values:?}"
            );
        }
        let two = origins(&[PUBLIC, "https://evil.example"]);
        assert_eq!(
            Caller::of(&two, PUBLIC, Some(HeaderValue::from_static(PUBLIC))).unwrap_err(),
            Foreign
        );
    }

    #[test]
    fn who_is_no_browser_needs_no_origin() {
        let mut answer = HeaderMap::new();
        Caller::of(&HeaderMap::new(), PUBLIC, None)
            .unwrap()
            .admit(&mut answer);
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn a_preflight_allows_what_the_proxy_forwards_and_no_more() {
        let mut request = HeaderMap::new();
        request.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("Authorization, Mcp-Param-Region, X-Behalf-Host-Key, cookie"),
        );
        let mut answer = HeaderMap::new();
        Caller::preflight(&request, &mut answer);
        assert_eq!(
            answer[ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization, mcp-param-region"
        );
    }
}
