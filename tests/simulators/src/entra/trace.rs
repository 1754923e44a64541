//! The ids that correlate a request with its answer.

use axum::response::Response;
use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;

use super::random;

/// The ids that correlate a request with its answer.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) id: String,
    pub(super) correlation_id: String,
    pub(super) at: Timestamp,
}

impl Trace {
    /// A new trace; the caller's `client-request-id`, if it is a plain one, becomes the correlation id.
    pub(super) fn new(headers: &HeaderMap, at: Timestamp) -> Self {
        let sent = headers
            .get("client-request-id")
            .and_then(|value| value.to_str().ok())
            .filter(|value| value.len() == 36)
            .filter(|value| value.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
        Self {
            id: random::guid(),
            correlation_id: sent.map_or_else(random::guid, str::to_owned),
            at,
        }
    }

    /// Headers that every answer of Entra carries.
    pub(super) fn stamp(&self, response: &mut Response, code: u32) {
        let fields = [
            (header::CACHE_CONTROL, "no-store, no-cache".to_owned()),
            (header::PRAGMA, "no-cache".to_owned()),
            (HeaderName::from_static("x-ms-request-id"), self.id.clone()),
            (
                HeaderName::from_static("x-ms-ests-server"),
                "simulator".to_owned(),
            ),
            (HeaderName::from_static("x-ms-clitelem"), format!("1,{code},0,,")),
        ];
        for (name, value) in fields {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
    }
}
