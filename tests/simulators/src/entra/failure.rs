//! Entra's error answers: the body of entra.md section 4, and the headers beside it.

use axum::body::Body;
use axum::response::Response;
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;

use super::report::Outcome;
use super::trace::Trace;

/// A refusal in Entra's terms.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) error: String,
    pub(super) code: u32,
    pub(super) message: String,
    pub(super) suberror: Option<String>,
    pub(super) claims: Option<String>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: &'a str,
    correlation_id: &'a str,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
}

impl Failure {
    pub(super) fn new(status: u16, error: &str, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            error: error.to_owned(),
            code,
            message: message.into(),
            suberror: None,
            claims: None,
        }
    }

    /// 401: the application did not prove that it is itself.
    pub(super) fn invalid_client(code: u32, message: impl Into<String>) -> Self {
        Self::new(401, "invalid_client", code, message)
    }

    /// 400: the code, token or assertion does not serve.
    pub(super) fn invalid_grant(code: u32, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_grant", code, message)
    }

    /// 400: the request itself is wrong.
    pub(super) fn invalid_request(code: u32, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", code, message)
    }

    /// 400: the scope is wrong.
    pub(super) fn invalid_scope(code: u32, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_scope", code, message)
    }

    /// 900144.
    pub(super) fn missing(parameter: &str) -> Self {
        Self::invalid_request(
            900_144,
            format!("The request body must contain the following parameter: '{parameter}'."),
        )
    }

    /// A fault of the simulator itself, never of the caller.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "server_error", 90_033, message)
    }

    pub(super) fn suberror(mut self, suberror: &str) -> Self {
        self.suberror = Some(suberror.to_owned());
        self
    }

    pub(super) fn claims(mut self, claims: &str) -> Self {
        self.claims = Some(claims.to_owned());
        self
    }

    /// `error_description`: four lines, separated by CR LF.
    pub(super) fn description(&self, trace: &Trace) -> String {
        format!(
            "AADSTS{}: {}\r\nTrace ID: {}\r\nCorrelation ID: {}\r\nTimestamp: {}",
            self.code,
            self.message,
            trace.id,
            trace.correlation_id,
            timestamp(trace.at)
        )
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            status: self.status,
            error: Some(self.error.clone()),
            codes: vec![self.code],
            suberror: self.suberror.clone(),
        }
    }

    /// The answer of the token endpoint.
    pub(super) fn response(&self, trace: &Trace) -> Response {
        let body = ErrorBody {
            error: &self.error,
            error_description: self.description(trace),
            error_codes: [self.code],
            timestamp: timestamp(trace.at),
            trace_id: &trace.id,
            correlation_id: &trace.correlation_id,
            error_uri: format!("https://login.microsoftonline.com/error?code={}", self.code),
            suberror: self.suberror.as_deref(),
            claims: self.claims.as_deref(),
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = json_response(self.status, text);
        trace.stamp(&mut response, self.code);
        response
    }
}

/// JSON with the content type Entra writes.
pub(super) fn json_response(status: u16, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// Entra's timestamp: a space, no `T`.
fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
