//! Applies a fault to an answer.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use base64::Engine;
use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use super::{
    admission::{challenged, redirect},
    error::ServiceError,
    fault::Action,
    reply,
    state::{Settings, Simulator},
    throttle::{self, put},
};

/// The fault's word in the record.
pub(super) fn name(action: &Action) -> String {
    let value = serde_json::to_value(action).unwrap_or_default();
    value
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The answer of a fault that keeps the call from being carried out.
pub(super) fn instead_of_an_answer(
    simulator: &Simulator,
    settings: &Settings,
    action: &Action,
) -> Option<Response> {
    let json = "application/json; charset=utf-8";
    let mut response = match action {
        Action::Throttle { .. } => {
            let mut response = ServiceError::throttled(throttle::RESOURCE).into_response();
            let reset = simulator.clock.now().as_second().saturating_add(300);
            response
                .headers_mut()
                .extend(throttle::rate_headers(settings.rate_limit, 0, reset));
            response
        }
        Action::Unavailable { .. } => reply::typed(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/html",
            "<html><body>The service is unavailable.</body></html>",
        ),
        Action::SignInPage => reply::sign_in_page(StatusCode::NON_AUTHORITATIVE_INFORMATION),
        Action::SignInRedirect => redirect(simulator),
        Action::Unauthorized => challenged(simulator, ServiceError::unauthorized()),
        Action::ClaimsChallenge { claims } => claims_challenge(simulator, claims),
        Action::EmptyList => reply::Page::whole(Vec::new()).into_response(),
        Action::LongList { runs } => reply::Page::whole((1..=*runs).map(long_run).collect()).into_response(),
        Action::EmptyBody => reply::typed(StatusCode::OK, json, Body::empty()),
        Action::BrokenJson => reply::typed(StatusCode::OK, json, "{\"count\":1,\"value\":[{\"id\":"),
        Action::Error {
            status,
            type_key,
            message,
        } => ServiceError::scripted(status_or_500(*status), type_key, message).into_response(),
        Action::Text {
            status,
            content_type,
            body,
        } => reply::typed(status_or_500(*status), content_type, body.clone()),
        Action::Delay { .. }
        | Action::Reset
        | Action::ResetAfterwards
        | Action::SlowBody { .. }
        | Action::CutBody { .. } => return None,
    };
    if let Action::Throttle {
        retry_after_seconds: Some(seconds),
    }
    | Action::Unavailable {
        retry_after_seconds: Some(seconds),
    } = action
    {
        put(response.headers_mut(), header::RETRY_AFTER, &seconds.to_string());
    }
    Some(response)
}

/// A run whose branch has a long name.
fn long_run(number: usize) -> Value {
    json!({"id": number, "buildNumber": format!("20261127.{number}"), "status": "completed", "result": "succeeded",
        "sourceBranch": format!("refs/heads/{}", "x".repeat(900))})
}

fn status_or_500(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn claims_challenge(simulator: &Simulator, claims: &str) -> Response {
    let mut response = ServiceError::unauthorized().into_response();
    let authority = simulator.verifier.authority().as_str().trim_end_matches('/');
    let claims = base64::engine::general_purpose::STANDARD.encode(claims);
    let challenge = format!(
        "Bearer realm=\"\", authorization_uri=\"{authority}/common/oauth2/authorize\", error=\"insufficient_claims\", claims=\"{claims}\""
    );
    put(response.headers_mut(), header::WWW_AUTHENTICATE, &challenge);
    response
}

/// The faults that follow a call which was carried out.
pub(super) async fn spoil(mut response: Response, fault: Option<Action>) -> Response {
    match fault {
        Some(Action::Delay {
            milliseconds,
            retry_after_seconds,
        }) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            let delay = format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000);
            let headers = response.headers_mut();
            put(headers, HeaderName::from_static("x-ratelimit-delay"), &delay);
            put(
                headers,
                HeaderName::from_static("x-ratelimit-resource"),
                throttle::RESOURCE,
            );
            if let Some(seconds) = retry_after_seconds {
                put(headers, header::RETRY_AFTER, &seconds.to_string());
            }
        }
        Some(Action::SlowBody {
            chunk_bytes,
            pause_milliseconds,
        }) => {
            response = reply::slowly(response, chunk_bytes, Duration::from_millis(pause_milliseconds));
        }
        Some(Action::CutBody { after_bytes }) => response = reply::cut_off(response, after_bytes),
        _ => {}
    }
    response
}
