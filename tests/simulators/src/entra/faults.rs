//! Faults on command.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::failure::{Failure, json_response};
use super::model::{Effect, RequestKind};
use super::report::Outcome;
use super::state::World;
use super::trace::Trace;
use crate::listener::ResetConnection;

/// The faulty answer, or `None` when the request goes on, late perhaps.
pub(super) async fn strike(
    world: &World,
    number: u64,
    kind: RequestKind,
    client_id: &str,
    trace: &Trace,
) -> Option<Response> {
    // The subscription begins first, because the faults may be cleared between the two lines.
    let held = world.held();
    let effect = world.take_fault(number, kind, client_id)?;
    let mut outcome = Outcome::default();
    let mut response = match effect {
        Effect::Slow { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            return None;
        }
        Effect::Hold => {
            held.await;
            return None;
        }
        Effect::Reset => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(ResetConnection);
            world.lock().finish(number, outcome);
            return Some(response);
        }
        Effect::Throttled { retry_after_seconds } => {
            let failure = Failure::new(
                429,
                "temporarily_unavailable",
                90_055,
                "Too many requests: the application is throttled.",
            );
            outcome = failure.outcome();
            retry_after(failure.response(trace), retry_after_seconds)
        }
        Effect::Status {
            status,
            retry_after_seconds,
        } => {
            let mut response = Response::new(Body::from("Service Unavailable"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            retry_after(response, retry_after_seconds)
        }
        Effect::Html { status } => {
            let page = "<!DOCTYPE html><html><head><title>Sorry</title></head><body><h1>We are working on it</h1></body></html>";
            let mut response = json_response(status, page.to_owned());
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            );
            response
        }
        Effect::Truncated => json_response(200, r#"{"token_type":"Bearer","expires_in":"#.to_owned()),
        Effect::Refusal {
            status,
            error,
            code,
            suberror,
            claims,
        } => {
            let mut failure = Failure::new(status, &error, code, "Refused on the test's command.");
            failure.suberror = suberror;
            failure.claims = claims;
            outcome = failure.outcome();
            failure.response(trace)
        }
    };
    outcome.status = response.status().as_u16();
    trace.stamp(&mut response, outcome.codes.first().copied().unwrap_or_default());
    world.lock().finish(number, outcome);
    Some(response)
}

fn retry_after(mut response: Response, seconds: Option<u32>) -> Response {
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
