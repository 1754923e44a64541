//! The control port's routes. No authentication: it belongs on loopback or in a test's own cluster.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;

use super::model::{
    Application, Consent, Directory, Fault, FederatedCredential, IssuerAccess, Policy, Settings, User,
};
use super::report::{MintRequest, Minted, RequestRecord, SecretValue};
use super::state::World;

type Refusal = (StatusCode, String);
type Done = Result<StatusCode, Refusal>;

const DONE: Done = Ok(StatusCode::NO_CONTENT);

fn refused(message: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, message.into())
}

fn absent(what: &str) -> Refusal {
    (StatusCode::NOT_FOUND, format!("the directory has no such {what}"))
}

/// The routes.
pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/health", get(|| async { StatusCode::NO_CONTENT }))
        .route("/directory", get(directory).put(put_directory))
        .route(
            "/applications/{client_id}",
            get(application).put(put_application).delete(delete_application),
        )
        .route(
            "/applications/{client_id}/federated-credentials",
            put(put_credentials).post(add_credential),
        )
        .route("/applications/{client_id}/redirect-uris", post(add_redirect_uri))
        .route("/users/{name}", put(put_user).delete(delete_user))
        .route("/users/{name}/revoke", post(revoke))
        .route("/users/{name}/expire", post(expire))
        .route("/policies/{subject}", put(put_policies))
        .route("/consents", put(put_consents))
        .route("/settings", get(settings).put(put_settings))
        .route("/issuers", put(put_issuers))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/keys/rotate", post(rotate))
        .route("/tokens", post(mint))
        .route("/requests", get(requests))
        .route("/secrets", get(secrets))
        .route("/reset", post(reset))
        .with_state(world)
}

type Sim = Shared<Arc<World>>;

async fn directory(Shared(world): Sim) -> Json<Directory> {
    Json(world.lock().directory.clone())
}

async fn put_directory(Shared(world): Sim, Json(directory): Json<Directory>) -> Done {
    world.lock().put_directory(directory).map_err(refused)?;
    DONE
}

async fn application(
    Shared(world): Sim,
    Path(client_id): Path<String>,
) -> Result<Json<Application>, Refusal> {
    let found = world.lock().directory.application(&client_id).cloned();
    found.map(Json).ok_or_else(|| absent("application"))
}

async fn put_application(
    Shared(world): Sim,
    Path(client_id): Path<String>,
    Json(application): Json<Application>,
) -> Done {
    if application.client_id != client_id {
        return Err(refused("the path and the document name different applications"));
    }
    world.lock().put_application(application).map_err(refused)?;
    DONE
}

async fn delete_application(Shared(world): Sim, Path(client_id): Path<String>) -> StatusCode {
    world
        .lock()
        .directory
        .applications
        .retain(|one| one.client_id != client_id);
    StatusCode::NO_CONTENT
}

fn change_application(world: &World, client_id: &str, change: impl FnOnce(&mut Application)) -> Done {
    let mut state = world.lock();
    let mut application = state
        .directory
        .application(client_id)
        .cloned()
        .ok_or_else(|| absent("application"))?;
    change(&mut application);
    state.put_application(application).map_err(refused)?;
    DONE
}

async fn put_credentials(
    Shared(world): Sim,
    Path(client_id): Path<String>,
    Json(credentials): Json<Vec<FederatedCredential>>,
) -> Done {
    change_application(&world, &client_id, |application| {
        application.federated_credentials = credentials;
    })
}

async fn add_credential(
    Shared(world): Sim,
    Path(client_id): Path<String>,
    Json(credential): Json<FederatedCredential>,
) -> Done {
    change_application(&world, &client_id, |application| {
        application.federated_credentials.push(credential);
    })
}

async fn add_redirect_uri(
    Shared(world): Sim,
    Path(client_id): Path<String>,
    Json(uri): Json<String>,
) -> Done {
    change_application(&world, &client_id, |application| {
        if !application.redirect_uris.contains(&uri) {
            application.redirect_uris.push(uri);
        }
    })
}

async fn put_user(Shared(world): Sim, Path(name): Path<String>, Json(user): Json<User>) -> Done {
    if !user.answers_to(&name) {
        return Err(refused("the path and the document name different users"));
    }
    let mut state = world.lock();
    match state.directory.users.iter_mut().find(|one| one.answers_to(&name)) {
        Some(present) => *present = user,
        None => state.directory.users.push(user),
    }
    DONE
}

async fn delete_user(Shared(world): Sim, Path(name): Path<String>) -> StatusCode {
    world.lock().directory.users.retain(|one| !one.answers_to(&name));
    StatusCode::NO_CONTENT
}

async fn revoke(Shared(world): Sim, Path(name): Path<String>) -> Done {
    let mut state = world.lock();
    let user = state
        .directory
        .user(&name)
        .cloned()
        .ok_or_else(|| absent("user"))?;
    for token in state
        .refresh_tokens
        .values_mut()
        .filter(|one| one.login.object_id == user.object_id)
    {
        token.revoked = true;
    }
    state.browsers.retain(|_, object_id| *object_id != user.object_id);
    DONE
}

async fn expire(Shared(world): Sim, Path(name): Path<String>) -> Done {
    let mut state = world.lock();
    let user = state
        .directory
        .user(&name)
        .cloned()
        .ok_or_else(|| absent("user"))?;
    for token in state
        .refresh_tokens
        .values_mut()
        .filter(|one| one.login.object_id == user.object_id)
    {
        token.last_used = jiff::Timestamp::MIN;
    }
    DONE
}

async fn put_policies(
    Shared(world): Sim,
    Path(subject): Path<String>,
    Json(policies): Json<Vec<Policy>>,
) -> StatusCode {
    world.lock().directory.policies.insert(subject, policies);
    StatusCode::NO_CONTENT
}

async fn put_consents(Shared(world): Sim, Json(consents): Json<Vec<Consent>>) -> StatusCode {
    world.lock().directory.consents = consents;
    StatusCode::NO_CONTENT
}

async fn settings(Shared(world): Sim) -> Json<Settings> {
    Json(world.lock().directory.settings.clone())
}

async fn put_settings(Shared(world): Sim, Json(settings): Json<Settings>) -> StatusCode {
    world.lock().directory.settings = settings;
    StatusCode::NO_CONTENT
}

async fn put_issuers(Shared(world): Sim, Json(issuers): Json<Vec<IssuerAccess>>) -> StatusCode {
    world.lock().directory.issuers = issuers;
    StatusCode::NO_CONTENT
}

async fn add_fault(Shared(world): Sim, Json(fault): Json<Fault>) -> StatusCode {
    world.lock().faults.push(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(Shared(world): Sim) -> StatusCode {
    world.clear_faults();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rotation {
    withdraw_old: bool,
}

async fn rotate(Shared(world): Sim, Json(rotation): Json<Rotation>) -> Done {
    world
        .lock()
        .keys
        .rotate(rotation.withdraw_old)
        .map_err(|error| refused(error.to_string()))?;
    DONE
}

async fn mint(Shared(world): Sim, Json(wanted): Json<MintRequest>) -> Result<Json<Minted>, Refusal> {
    let token = world.lock().mint(&world.endpoints, &wanted).map_err(refused)?;
    Ok(Json(Minted { token }))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    after: u64,
}

async fn requests(Shared(world): Sim, Query(since): Query<Since>) -> Json<Vec<RequestRecord>> {
    let state = world.lock();
    Json(
        state
            .record
            .iter()
            .filter(|entry| entry.number > since.after)
            .cloned()
            .collect(),
    )
}

async fn secrets(Shared(world): Sim) -> Json<Vec<SecretValue>> {
    Json(world.lock().secret_values())
}

async fn reset(Shared(world): Sim) -> Done {
    world.reset().map_err(|error| refused(error.to_string()))?;
    DONE
}
