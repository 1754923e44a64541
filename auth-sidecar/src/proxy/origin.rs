//! The web pages that may call `/mcp` (CORS protocol of the Fetch standard).
//!
//! MCP 2026-07-28 requires the check of `Origin`, because DNS rebinding lets a page of another origin call a server
//! that the page's browser can reach.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
/// The methods of `/mcp`.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE, OPTIONS");

/// Time in seconds for which a browser caches the answer of a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The headers of an answer that a page may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, MCP-Protocol-Version, Mcp-Session-Id, Retry-After");

/// The headers that a page may send in addition to every `Mcp-*` header.
const ALLOWED: [&str; 7] = [
    "accept",
    "authorization",
    "baggage",
    "content-type",
    "last-event-id",
    "traceparent",
    "tracestate",
];

/// The request comes from a page that may not call `/mcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ForeignOrigin;

/// The origin of the page that sent the request. `None` for a program that is no browser.
#[derive(Debug, Clone)]
pub(super) struct RequestOrigin(Option<HeaderValue>);

impl RequestOrigin {
    /// Reads `Origin`. Pages of this server may call, and pages that may call the OAuth endpoints. `allowed` is the
    /// result of [`crate::oauth::allowed_origin`] for the same headers.
    pub(super) fn of(
        headers: &HeaderMap,
        public_origin: &str,
        allowed: Option<HeaderValue>,
    ) -> Result<Self, ForeignOrigin> {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(Self(None)),
            (Some(origin), None) if origin == public_origin => Ok(Self(Some(origin.clone()))),
            (Some(_), None) => allowed.map(|origin| Self(Some(origin))).ok_or(ForeignOrigin),
            (Some(_), Some(_)) => Err(ForeignOrigin),
        }
    }

    /// Lets the page read the answer.
    pub(super) fn add_cors_headers(&self, headers: &mut HeaderMap) {
        // Every answer has `Vary`, so that no cache returns the answer for one origin to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = &self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// Adds the headers of a preflight's answer.
    pub(super) fn preflight(request: &HeaderMap, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        let requested = request
            .get(ACCESS_CONTROL_REQUEST_HEADERS)
            .and_then(|value| value.to_str().ok());
        let allowed: Vec<String> = requested
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
    fn allowed_pages_may_call_and_read_the_answer() {
        let inspector = HeaderValue::from_static("http://localhost:6274");
        for (headers, allowed) in [
            (origins(&[PUBLIC]), None),
            (origins(&["http://localhost:6274"]), Some(inspector)),
        ] {
            let mut answer = HeaderMap::new();
            RequestOrigin::of(&headers, PUBLIC, allowed)
                .unwrap()
                .add_cors_headers(&mut answer);
            assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], headers[ORIGIN]);
            assert_eq!(answer[VARY], "Origin");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for values in [
            &["https://evil.example"][..],
            &["null"],
            &[""],
            &["HTTPS://mcp.contoso.example"],
        ] {
            assert_eq!(
                RequestOrigin::of(&origins(values), PUBLIC, None).unwrap_err(),
                ForeignOrigin,
                "{values:?}"
            );
        }
        let two = origins(&[PUBLIC, "https://evil.example"]);
        assert_eq!(
            RequestOrigin::of(&two, PUBLIC, Some(HeaderValue::from_static(PUBLIC))).unwrap_err(),
            ForeignOrigin
        );
    }

    #[test]
    fn a_program_that_is_no_browser_needs_no_origin() {
        let mut answer = HeaderMap::new();
        RequestOrigin::of(&HeaderMap::new(), PUBLIC, None)
            .unwrap()
            .add_cors_headers(&mut answer);
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn a_preflight_allows_exactly_the_headers_that_the_proxy_reads_or_forwards() {
        let mut request = HeaderMap::new();
        request.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("Authorization, Mcp-Param-Region, X-Behalf-Host-Key, cookie"),
        );
        let mut answer = HeaderMap::new();
        RequestOrigin::preflight(&request, &mut answer);
        assert_eq!(
            answer[ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization, mcp-param-region"
        );
    }
}
