//! Admits a verified user with rights and budget, or refuses in one of the service's many forms.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};

use super::{
    ask::Caller,
    error::ServiceError,
    record::RecordedCall,
    reply,
    state::{Settings, SignInAnswer, Simulator},
    throttle::{self, put},
    token::{Refusal, User},
};
use crate::people;

/// An admitted user.
pub(super) struct Admission {
    pub(super) caller: Caller,
    /// Headers of the answer that come from the counter.
    pub(super) rate_headers: HeaderMap,
}

/// The caller with their rights, or the refusal: sign-in page, 401, 429.
pub(super) fn admit(
    simulator: &Simulator,
    settings: &Settings,
    verdict: Result<User, Refusal>,
    parts: &Parts,
    call: &RecordedCall,
) -> Result<Admission, Box<Response>> {
    let user = verdict.map_err(|refusal| Box::new(refused(simulator, settings, &refusal, parts, call)))?;
    let mut state = simulator.lock();
    let Some(permissions) = state.permissions.get(&user.object_id).cloned() else {
        return Err(Box::new(
            ServiceError::never_signed_in(&user.object_id).into_response(),
        ));
    };
    let charge = state
        .usage
        .charge(&user.object_id, settings.rate_limit, simulator.clock.now());
    if charge.blocked {
        let mut response = ServiceError::throttled(throttle::RESOURCE).into_response();
        response.headers_mut().extend(charge.headers);
        return Err(Box::new(response));
    }
    let person = people::by_object_id(&user.object_id);
    let display_name = person
        .map(|person| person.display_name.to_owned())
        .or_else(|| user.name.clone())
        .unwrap_or_else(|| user.object_id.clone());
    let caller = Caller {
        object_id: user.object_id,
        display_name,
        user_name: user.sign_in_name,
        permissions,
    };
    Ok(Admission {
        caller,
        rate_headers: charge.headers,
    })
}

fn refused(
    simulator: &Simulator,
    settings: &Settings,
    refusal: &Refusal,
    parts: &Parts,
    call: &RecordedCall,
) -> Response {
    match refusal {
        Refusal::KeysUnreachable => {
            return reply::typed(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain; charset=utf-8",
                "the simulator cannot fetch the tenant's keys, so it cannot judge any token",
            );
        }
        Refusal::ForeignTenant => {
            let error = ServiceError::foreign_tenant(&simulator.core_link(""));
            return challenged(simulator, error);
        }
        _ => {}
    }
    let browser_like = matches!(parts.method, Method::GET | Method::POST | Method::HEAD);
    if !browser_like || call.suppresses_redirect {
        return challenged(simulator, ServiceError::unauthorized());
    }
    match settings.sign_in_answer {
        SignInAnswer::Page => reply::sign_in_page(StatusCode::NON_AUTHORITATIVE_INFORMATION),
        SignInAnswer::Redirect => redirect(simulator),
    }
}

pub(super) fn challenged(simulator: &Simulator, error: ServiceError) -> Response {
    let mut response = error.into_response();
    put(
        response.headers_mut(),
        header::WWW_AUTHENTICATE,
        &authorization_uri(simulator),
    );
    response
}

/// `Bearer authorization_uri=<authority>/<tenant>`, with the tenant whose tokens the simulator believes.
fn authorization_uri(simulator: &Simulator) -> String {
    authorization_uri_of(simulator, simulator.verifier.tenant_id())
}

/// `Bearer authorization_uri=<authority>/<tenant>`.
pub(super) fn authorization_uri_of(simulator: &Simulator, tenant: &str) -> String {
    let authority = simulator.verifier.authority().as_str().trim_end_matches('/');
    format!("Bearer authorization_uri={authority}/{tenant}")
}

pub(super) fn redirect(simulator: &Simulator) -> Response {
    let mut response = reply::sign_in_page(StatusCode::FOUND);
    let identity = simulator.endpoints.identity.as_str().trim_end_matches('/');
    put(
        response.headers_mut(),
        header::LOCATION,
        &format!("{identity}/_signin?realm=dev.azure.com"),
    );
    response
}
