//! The browser's side: the authorize page, the sign-in and the consent form.

mod step;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::response::Response;
use http::HeaderMap;

use self::step::{Step, browser, finish};
use super::failure::Failure;
use super::form::Parameters;
use super::grants::{parse_claims, unassigned};
use super::model::{Application, RequestKind, User};
use super::pages::{self, SignInPage};
use super::report::{RequestRecord, SecretKind};
use super::scopes::Requested;
use super::state::{Code, Login, Pending, State, World};
use super::trace::Trace;
use super::{faults, random};

/// `GET /{tenant}/oauth2/v2.0/authorize`.
pub(super) async fn authorize(
    Shared(world): Shared<Arc<World>>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let trace = Trace::new(&headers, world.lock().now());
    let query = Parameters::decode(query.unwrap_or_default().as_bytes());
    let number = record(&world, RequestKind::Authorize, &query, &trace);
    let client_id = query.owned("client_id").unwrap_or_default();
    if let Some(response) = faults::strike(&world, number, RequestKind::Authorize, &client_id, &trace).await {
        return response;
    }
    let step = match world.endpoints.check_tenant(&tenant) {
        Ok(()) => start(&world, &query, &headers),
        Err(failure) => Step::Refused(failure),
    };
    finish(&world, number, &trace, step)
}

/// `POST /{tenant}/login`: the sign-in form.
pub(super) async fn login(Shared(world): Shared<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let trace = Trace::new(&headers, world.lock().now());
    let form = Parameters::from_body(&headers, &body);
    let number = record(&world, RequestKind::SignIn, &form, &trace);
    if let Some(response) = faults::strike(&world, number, RequestKind::SignIn, "", &trace).await {
        return response;
    }
    let step = sign_in(&world, &form);
    finish(&world, number, &trace, step)
}

/// `POST /{tenant}/consent`: the consent form.
pub(super) async fn consent(Shared(world): Shared<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let trace = Trace::new(&headers, world.lock().now());
    let form = Parameters::from_body(&headers, &body);
    let number = record(&world, RequestKind::SignIn, &form, &trace);
    if let Some(response) = faults::strike(&world, number, RequestKind::SignIn, "", &trace).await {
        return response;
    }
    let step = decide(&world, &form);
    finish(&world, number, &trace, step)
}

/// Checks client and redirect URI first: until both are right, the simulator cannot redirect with an error.
fn start(world: &World, query: &Parameters, headers: &HeaderMap) -> Step {
    let mut state = world.lock();
    let known = query
        .required("client_id")
        .and_then(|client_id| state.application(client_id))
        .and_then(|application| Ok((application, query.required("redirect_uri")?)));
    let (application, redirect_uri) = match known {
        Ok(known) => known,
        Err(failure) => return Step::Refused(failure),
    };
    if !application.redirect_uris.iter().any(|uri| uri == redirect_uri) {
        return Step::Refused(Failure::invalid_request(
            50_011,
            format!(
                "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for the application '{}'.",
                application.client_id
            ),
        ));
    }
    let mode = query.get("response_mode").unwrap_or("query");
    if mode != "query" {
        return Step::Page(pages::not_modelled(&format!("response_mode={mode}")));
    }
    let mut pending = Pending {
        client_id: application.client_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        requested: Requested::nothing(),
        state: query.owned("state"),
        challenge: query.owned("code_challenge"),
        nonce: query.owned("nonce"),
        claims: None,
        prompt: query.owned("prompt"),
        login_hint: query.owned("login_hint"),
        object_id: None,
    };
    if let Err(failure) = understand(&state, query, &application, &mut pending) {
        return Step::Failed(Box::new(pending), failure);
    }
    let prompt = pending.prompt.as_deref().unwrap_or_default();
    let asks_anyway = prompt == "login" || prompt == "select_account";
    let silent = prompt == "none" || (state.directory.settings.single_sign_on && !asks_anyway);
    if silent {
        let known = browser(headers).and_then(|browser| state.browsers.get(browser).cloned());
        match known.and_then(|object_id| state.directory.user_by_object_id(&object_id).cloned()) {
            Some(user) => return proceed(world, &mut state, &application, pending, user),
            None if prompt == "none" => {
                return Step::Failed(
                    Box::new(pending),
                    Failure::new(
                        400,
                        "login_required",
                        50_058,
                        "A silent sign-in request was sent but no user is signed in.",
                    ),
                );
            }
            None => {}
        }
    }
    ask_who(world, &mut state, &application, pending, None)
}

/// Reads the rest of the request. An error is redirected to the application.
fn understand(
    state: &State,
    query: &Parameters,
    application: &Application,
    pending: &mut Pending,
) -> Result<(), Failure> {
    let response_type = query.required("response_type")?;
    if response_type != "code" {
        return Err(Failure::new(
            400,
            "unsupported_response_type",
            700_054,
            format!("response_type '{response_type}' is not enabled for the application."),
        ));
    }
    pending.requested = Requested::parse(query.required("scope")?, application, &state.directory)?;
    pending
        .requested
        .check_resource(query.get("resource"), application)?;
    if let Some(challenge) = query.get("code_challenge") {
        if query.get("code_challenge_method") != Some("S256") {
            return Err(Failure::invalid_request(
                9_002_313,
                "Invalid request. Request is malformed or invalid: the simulator knows code_challenge_method S256 only.",
            ));
        }
        if challenge.len() != 43 {
            return Err(Failure::invalid_request(
                501_491,
                "Invalid size of Code_Challenge parameter.",
            ));
        }
    }
    pending.claims = query.get("claims").map(parse_claims).transpose()?;
    let prompts = ["login", "none", "consent", "select_account"];
    match query.get("prompt") {
        Some(prompt) if !prompts.contains(&prompt) => Err(Failure::invalid_request(
            90_023,
            format!("Unsupported 'prompt' value '{prompt}'."),
        )),
        _ => Ok(()),
    }
}

fn sign_in(world: &World, form: &Parameters) -> Step {
    let mut state = world.lock();
    let context = form.get("ctx").unwrap_or_default();
    let Some(pending) = state.pending.remove(context) else {
        return stale();
    };
    let application = match state.application(&pending.client_id) {
        Ok(application) => application,
        Err(failure) => return Step::Refused(failure),
    };
    if form.get("action") == Some("cancel") {
        return Step::Failed(Box::new(pending), declined());
    }
    let name = form.get("pick").or_else(|| form.get("login")).unwrap_or_default();
    if let Some(user) = state.directory.user(name).cloned() {
        return proceed(world, &mut state, &application, pending, user);
    }
    let failure = Failure::invalid_grant(
        50_034,
        format!(
            "The user account {name} does not exist in the {} directory.",
            world.endpoints.tenant_id
        ),
    );
    ask_who(world, &mut state, &application, pending, Some(&failure))
}

fn decide(world: &World, form: &Parameters) -> Step {
    let mut state = world.lock();
    let context = form.get("ctx").unwrap_or_default();
    let Some(pending) = state.pending.remove(context) else {
        return stale();
    };
    let user = pending
        .object_id
        .as_deref()
        .and_then(|id| state.directory.user_by_object_id(id))
        .cloned();
    let (Some(user), Ok(application)) = (user, state.application(&pending.client_id)) else {
        return stale();
    };
    if form.get("decision") != Some("accept") {
        return Step::Failed(Box::new(pending), declined());
    }
    let resources = pending.requested.needs_consent_to(&application);
    state.consent(&application.client_id, &resources, &user.object_id);
    complete(&mut state, pending, user)
}

/// Checks the known user's account, assignment, policies and consent.
fn proceed(
    world: &World,
    state: &mut State,
    application: &Application,
    mut pending: Pending,
    user: User,
) -> Step {
    let login = login_of(state, &pending, &user);
    let checked = state
        .user(&user.object_id)
        .and_then(|_| {
            let assigned = user.is_assigned_to(&application.client_id);
            if application.assignment_required && !assigned {
                return Err(unassigned(application));
            }
            Ok(())
        })
        .and_then(|()| state.judge_user(RequestKind::SignIn, &user, Some(&login)));
    if let Err(failure) = checked {
        return Step::Refused(failure);
    }
    let resources = pending.requested.needs_consent_to(application);
    let missing = resources
        .iter()
        .any(|resource| !state.has_consent(&application.client_id, *resource, &user.object_id));
    let prompt = pending.prompt.as_deref().unwrap_or_default();
    if !missing && prompt != "consent" {
        return complete(state, pending, user);
    }
    if prompt == "none" {
        return Step::Failed(
            Box::new(pending),
            Failure::new(
                400,
                "interaction_required",
                65_001,
                "The user or administrator has not consented to use the application.",
            ),
        );
    }
    if missing && !application.user_consent_allowed {
        return Step::Refused(Failure::invalid_grant(
            90_094,
            format!(
                "{} needs permission that only an administrator can grant.",
                application.display_name
            ),
        ));
    }
    pending.object_id = Some(user.object_id.clone());
    let context = random::token();
    state.pending.insert(context.clone(), pending);
    let tenant = &world.endpoints.tenant_id;
    Step::Page(pages::consent(tenant, &context, application, &user, &resources))
}

fn complete(state: &mut State, pending: Pending, user: User) -> Step {
    let code = format!("1.A{}{}", random::token(), random::token());
    let entry = Code {
        login: login_of(state, &pending, &user),
        redirect_uri: pending.redirect_uri.clone(),
        requested: pending.requested.clone(),
        challenge: pending.challenge.clone(),
        nonce: pending.nonce.clone(),
        used: false,
    };
    state.codes.insert(code.clone(), entry);
    state.keep_secret(SecretKind::AuthorizationCode, &code);
    Step::Done(Box::new(pending), code, user)
}

fn login_of(state: &State, pending: &Pending, user: &User) -> Login {
    Login {
        client_id: pending.client_id.clone(),
        object_id: user.object_id.clone(),
        at: state.now(),
        profile: pending.requested.profile,
        claims: pending.claims.clone(),
    }
}

fn ask_who(
    world: &World,
    state: &mut State,
    application: &Application,
    pending: Pending,
    problem: Option<&Failure>,
) -> Step {
    let context = random::token();
    let page = pages::sign_in(&SignInPage {
        tenant: &world.endpoints.tenant_id,
        context: &context,
        application,
        users: &state.directory.users,
        login_hint: pending.login_hint.as_deref().unwrap_or_default(),
        problem,
    });
    state.pending.insert(context, pending);
    Step::Page(page)
}

fn declined() -> Failure {
    Failure::new(
        400,
        "access_denied",
        65_004,
        "User declined to consent to access the app.",
    )
}

fn stale() -> Step {
    Step::Refused(Failure::invalid_request(
        9_002_313,
        "Invalid request. Request is malformed or invalid: the sign-in page is stale.",
    ))
}

fn record(world: &World, kind: RequestKind, parameters: &Parameters, trace: &Trace) -> u64 {
    world.lock().begin(RequestRecord {
        client_id: parameters.owned("client_id"),
        scope: parameters.owned("scope"),
        prompt: parameters.owned("prompt"),
        claims: parameters.owned("claims"),
        parameters: parameters.names(),
        ..RequestRecord::new(kind, trace)
    })
}
