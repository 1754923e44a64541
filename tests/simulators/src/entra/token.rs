//! The token endpoint: shape, client, client authentication, then the grant.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{HeaderMap, header};

use super::failure::{Failure, json_response};
use super::form::Parameters;
use super::jwt::Unverified;
use super::model::{Application, RequestKind};
use super::report::{AssertionNames, Outcome, RequestRecord, SecretKind};
use super::state::World;
use super::token_request::{Granted, TokenRequest};
use super::trace::Trace;
use super::{assertion, faults, grants};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(super) async fn token(
    Shared(world): Shared<Arc<World>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let trace = Trace::new(&headers, world.lock().now());
    let form = Parameters::from_body(&headers, &body);
    let kind = match form.get("grant_type") {
        Some("authorization_code") => RequestKind::AuthorizationCode,
        Some("refresh_token") => RequestKind::RefreshToken,
        Some(ON_BEHALF_OF) => RequestKind::OnBehalfOf,
        Some("client_credentials") => RequestKind::ClientCredentials,
        _ => RequestKind::OtherGrant,
    };
    let number = record(&world, kind, &form, &headers, &trace);
    let client_id = form.owned("client_id").unwrap_or_default();
    if let Some(response) = faults::strike(&world, number, kind, &client_id, &trace).await {
        return response;
    }
    let request = TokenRequest { number, kind, form };
    match answer(&world, &tenant, &headers, &request).await {
        Ok(granted) => {
            world.lock().finish(
                number,
                Outcome {
                    status: 200,
                    ..Outcome::default()
                },
            );
            let text = serde_json::to_string(&granted).unwrap_or_default();
            let mut response = json_response(200, text);
            trace.stamp(&mut response, 0);
            response
        }
        Err(failure) => {
            world.lock().finish(number, failure.outcome());
            failure.response(&trace)
        }
    }
}

async fn answer(
    world: &World,
    tenant: &str,
    headers: &HeaderMap,
    request: &TokenRequest,
) -> Result<Granted, Failure> {
    world.endpoints.check_tenant(tenant)?;
    check_shape(request)?;
    let client_id = request.form.required("client_id")?;
    let application = world.lock().application(client_id)?;
    let assertion = client_assertion(&application, headers, &request.form)?;
    assertion::check(world, client_id, assertion).await?;
    grants::grant(world, &application, request)
}

/// The error is 900144 for a missing parameter and 70003 for an unknown grant.
fn check_shape(request: &TokenRequest) -> Result<(), Failure> {
    let grant_type = request.form.required("grant_type")?;
    let needed: &[&str] = match request.kind {
        RequestKind::AuthorizationCode => &["client_id", "code", "redirect_uri"],
        RequestKind::RefreshToken => &["client_id", "refresh_token"],
        RequestKind::OnBehalfOf => &["client_id", "assertion", "requested_token_use", "scope"],
        RequestKind::ClientCredentials => &["client_id", "scope"],
        _ => {
            return Err(Failure::new(
                400,
                "unsupported_grant_type",
                70_003,
                format!("The app requested an unsupported grant type '{grant_type}'."),
            ));
        }
    };
    needed
        .iter()
        .try_for_each(|name| request.form.required(name).map(drop))
}

/// The assertion, once it is clear that the client tries nothing else.
fn client_assertion<'a>(
    application: &Application,
    headers: &HeaderMap,
    form: &'a Parameters,
) -> Result<&'a str, Failure> {
    if form.get("client_secret").is_some() || headers.contains_key(header::AUTHORIZATION) {
        return Err(Failure::invalid_client(
            7_000_215,
            format!(
                "Invalid client secret provided for application '{}'.",
                application.client_id
            ),
        ));
    }
    let Some(assertion) = form.get("client_assertion") else {
        return Err(Failure::invalid_client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ));
    };
    if form.required("client_assertion_type")? != ASSERTION_TYPE {
        return Err(Failure::invalid_request(
            9_002_313,
            "Invalid request. Request is malformed or invalid: client_assertion_type.",
        ));
    }
    if application.public_client {
        return Err(Failure::invalid_client(
            700_025,
            "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
        ));
    }
    Ok(assertion)
}

/// Writes the redacted record, and keeps the secret values for leak tests.
fn record(world: &World, kind: RequestKind, form: &Parameters, headers: &HeaderMap, trace: &Trace) -> u64 {
    let received = [
        ("client_assertion", SecretKind::ClientAssertion),
        ("assertion", SecretKind::AccessToken),
        ("code", SecretKind::AuthorizationCode),
        ("code_verifier", SecretKind::CodeVerifier),
        ("refresh_token", SecretKind::RefreshToken),
        ("client_secret", SecretKind::ClientSecret),
    ];
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let scheme = authorization.and_then(|value| value.split_once(' '));
    let mut state = world.lock();
    for (name, kind) in received {
        state.keep_secret(kind, form.get(name).unwrap_or_default());
    }
    if let Some((_, credentials)) = scheme {
        state.keep_secret(SecretKind::ClientSecret, credentials);
    }
    let assertion = form.get("client_assertion").and_then(Unverified::parse);
    state.begin(RequestRecord {
        unknown_grant: match kind {
            RequestKind::OtherGrant => form.get("grant_type").map(|name| name.chars().take(64).collect()),
            _ => None,
        },
        client_id: form.owned("client_id"),
        scope: form.owned("scope"),
        claims: form.owned("claims"),
        parameters: form.names(),
        authorization_scheme: scheme.map(|(scheme, _)| scheme.to_owned()),
        assertion: assertion.map(|jwt| AssertionNames {
            issuer: jwt.text("iss").to_owned(),
            subject: jwt.text("sub").to_owned(),
            audience: jwt.audience(),
        }),
        ..RequestRecord::new(kind, trace)
    })
}
