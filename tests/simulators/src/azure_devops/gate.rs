//! The steps of each call before and after its route: token, faults, throttle, version, record, headers.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::MatchedPath,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use serde_json::Value;
use tower::ServiceExt;

use super::{
    admission::admit,
    clock,
    fault::Action,
    fault_answer,
    query::Query,
    record::{self, RecordedCall},
    reply,
    state::{ORGANIZATION, Settings, Simulator},
    throttle::put,
    token::{Refusal, User},
    version,
    world::uuid_of,
};
use crate::{listener::ResetConnection, people};

/// More than any request of this API needs.
const BODY_LIMIT: usize = 1024 * 1024;

/// One of the three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    Core,
    Release,
    Identity,
}

impl Host {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Release => "release",
            Self::Identity => "identity",
        }
    }

    /// Which service is meant on a port that is all three: their paths do not overlap.
    fn meant_by(parts: &Parts) -> Self {
        let path = parts.uri.path().to_ascii_lowercase();
        if path.contains("/_apis/release/") {
            Self::Release
        } else if parts.method == Method::HEAD && !path.contains("/_apis/") {
            Self::Identity
        } else {
            Self::Core
        }
    }
}

/// The routes of the three services.
#[derive(Debug, Clone)]
pub(super) struct Services {
    pub(super) core: Router,
    pub(super) release: Router,
    pub(super) identity: Router,
}

impl Services {
    fn of(self, host: Host) -> Router {
        match host {
            Host::Core => self.core,
            Host::Release => self.release,
            Host::Identity => self.identity,
        }
    }
}

/// The router of one port: everything goes through [`answer`]. Without a host the port is all three.
pub(super) fn router(simulator: &Arc<Simulator>, host: Option<Host>, services: &Services) -> Router {
    let (simulator, services) = (Arc::clone(simulator), services.clone());
    Router::new().fallback(move |request: Request<Body>| {
        answer(Arc::clone(&simulator), host, services.clone(), request)
    })
}

/// Answers one call, or ends the connection.
async fn answer(
    simulator: Arc<Simulator>,
    host: Option<Host>,
    services: Services,
    request: Request<Body>,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let host = host.unwrap_or_else(|| Host::meant_by(&parts));
    let token = bearer(&parts.headers).map(str::to_owned);
    let mut call = begin(&simulator, host, &parts, token.as_deref());
    let verdict = simulator.verifier.verify(token.as_deref()).await;
    call.object_id = verdict.as_ref().ok().map(|user| user.object_id.clone());
    call.refusal = verdict.as_ref().err().map(ToString::to_string);

    let body = axum::body::to_bytes(body, BODY_LIMIT).await;
    if is_recorded_body(&parts)
        && let Ok(body) = &body
    {
        call.body = Some(String::from_utf8_lossy(body).into_owned());
    }
    let (fault, settings) = {
        let mut state = simulator.lock();
        let fault = state
            .faults
            .take(&parts.method, parts.uri.path(), call.object_id.as_deref());
        (fault, state.settings)
    };
    call.fault = fault.as_ref().map(fault_answer::name);

    let user = verdict.as_ref().ok().cloned();
    let instead = fault
        .as_ref()
        .and_then(|action| fault_answer::instead_of_an_answer(&simulator, &settings, action));
    let response = match (instead, body) {
        _ if fault == Some(Action::Reset) => None,
        (Some(response), _) => Some(response),
        (None, Err(_)) => Some(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
        (None, Ok(body)) => {
            lower_case_path(&mut parts);
            let router = services.of(host);
            Some(carry_out(&simulator, &settings, verdict, router, parts, body, &mut call).await)
        }
    };
    let mut response = response.filter(|_| fault != Some(Action::ResetAfterwards));
    if let Some(response) = &mut response {
        stamp(response.headers_mut(), &call.activity_id, user.as_ref());
    }
    // The call is recorded before any delay, because this future is dropped when the client disconnects.
    call.status = response.as_ref().map(|response| response.status().as_u16());
    simulator.lock().record.push(call);
    match response {
        None => {
            let mut response = StatusCode::OK.into_response();
            response.extensions_mut().insert(ResetConnection);
            response
        }
        Some(response) if settings.byte_order_mark && reply::is_json(&response) => {
            fault_answer::spoil(reply::with_byte_order_mark(response), fault).await
        }
        Some(response) => fault_answer::spoil(response, fault).await,
    }
}

fn begin(simulator: &Simulator, host: Host, parts: &Parts, token: Option<&str>) -> RecordedCall {
    let mut state = simulator.lock();
    if let Some(token) = token {
        state.record.remember(token);
    }
    let sequence = state.record.next_sequence();
    let time = clock::wire(simulator.clock.now());
    RecordedCall {
        activity_id: uuid_of(&format!("activity {sequence} {time}")),
        sequence,
        time,
        host: host.name().to_owned(),
        method: parts.method.to_string(),
        route: None,
        path: parts.uri.path().to_owned(),
        query: record::redacted(Query::parse(parts.uri.query()).pairs()),
        object_id: None,
        refusal: None,
        suppresses_redirect: suppresses_redirect(&parts.headers),
        traceparent: traceparent(&parts.headers),
        fault: None,
        status: None,
        body: None,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

fn suppresses_redirect(headers: &HeaderMap) -> bool {
    let value = headers
        .get("x-tfs-fedauthredirect")
        .and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("suppress"))
}

fn traceparent(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("traceparent")?.to_str().ok()?.to_owned())
}

/// Bodies of requests that change something are exactly what tests ask about.
fn is_recorded_body(parts: &Parts) -> bool {
    matches!(parts.method, Method::POST | Method::PATCH)
}

/// The service does not mind case in a path.
fn lower_case_path(parts: &mut Parts) {
    let lower = parts.uri.path().to_ascii_lowercase();
    let target = match parts.uri.query() {
        Some(query) => format!("{lower}?{query}"),
        None => lower,
    };
    if let Ok(target) = target.parse() {
        parts.uri = target;
    }
}

async fn carry_out(
    simulator: &Arc<Simulator>,
    settings: &Settings,
    verdict: Result<User, Refusal>,
    router: Router,
    mut parts: Parts,
    body: Bytes,
    call: &mut RecordedCall,
) -> Response {
    let organization = parts.uri.path().split('/').nth(1).unwrap_or_default();
    if organization != ORGANIZATION {
        return reply::typed(
            StatusCode::NOT_FOUND,
            "text/html; charset=utf-8",
            "<html><body>404 - Page not found</body></html>",
        );
    }
    // The tenant probe is anonymous.
    let is_probe = parts.method == Method::HEAD && !parts.uri.path().contains("/_apis/");
    let admission = match (is_probe, verdict) {
        (true, _) => None,
        (false, verdict) => match admit(simulator, settings, verdict, &parts, call) {
            Ok(admission) => Some(admission),
            Err(response) => return *response,
        },
    };
    if !is_probe && let Err(error) = version::check(&parts) {
        return error.into_response();
    }
    let rate_headers = admission.as_ref().map(|admission| admission.rate_headers.clone());
    let empty_lists = admission
        .as_ref()
        .is_some_and(|admission| admission.caller.permissions.empty_lists);
    if let Some(admission) = admission {
        parts.extensions.insert(admission.caller);
    }
    let Ok(mut response) = router.oneshot(Request::from_parts(parts, Body::from(body))).await;
    call.route = response
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    if let Some(rate_headers) = rate_headers {
        response.headers_mut().extend(rate_headers);
    }
    if empty_lists {
        without_members(response).await
    } else {
        response
    }
}

/// A list without its members; anything else stays as it is.
async fn without_members(response: Response) -> Response {
    if response.status() != StatusCode::OK || !reply::is_json(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let parsed: Option<Value> = serde_json::from_slice(&body).ok();
    if parsed.is_some_and(|value| value.get("value").is_some_and(Value::is_array)) {
        return reply::Page::whole(Vec::new()).into_response();
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// Headers of every answer. `x-vss-userdata` names the user: leak tests must have something to find.
fn stamp(headers: &mut HeaderMap, activity_id: &str, user: Option<&User>) {
    put(headers, HeaderName::from_static("activityid"), activity_id);
    put(headers, HeaderName::from_static("x-vss-e2eid"), activity_id);
    put(headers, HeaderName::from_static("x-tfs-session"), activity_id);
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    if let Some(user) = user {
        let person = people::by_object_id(&user.object_id);
        let name = person
            .map(|person| person.user_name)
            .or(user.sign_in_name.as_deref())
            .unwrap_or_default();
        let identity = uuid_of(&format!("identity {}", user.object_id));
        put(
            headers,
            HeaderName::from_static("x-vss-userdata"),
            &format!("{identity}:{name}"),
        );
    }
}
