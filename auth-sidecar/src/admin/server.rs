//! The administration socket and its endpoints.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Path as PathParameter, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use behalf_contract::is_guid;
use behalf_entra::Secret;
use serde::Deserialize;
use tokio::net::UnixListener;

use super::messages::{
    DrainMessage, ErrorMessage, IntrospectionMessage, PageMessage, RevokedMessage, SessionMessage,
    TokenMessage,
};
use crate::oauth::shown_client_name;
use crate::services::Services;
use crate::sessions::{ActiveToken, ListedSession, RevokedSessions, SessionError, SessionId};
use crate::telemetry::request_cause::remember_request;

/// Mode of the socket: only the user of the sidecar may connect.
const MODE: u32 = 0o600;

/// The socket cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("failed to create the administration socket {}: mount an in-memory volume there that this user may write", path.display())]
pub struct AdminSocketError {
    path: PathBuf,
    source: io::Error,
}

/// Binds the socket. It replaces the socket of an earlier run of this container.
///
/// The socket gets its mode under another name, so that nobody can connect before.
pub fn bind(path: &Path) -> Result<UnixListener, AdminSocketError> {
    let bound = || {
        let temporary = path.with_extension("new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(MODE))?;
        fs::rename(&temporary, path)?;
        Ok(listener)
    };
    bound().map_err(|source| AdminSocketError {
        path: path.to_owned(),
        source,
    })
}

/// The endpoints of the socket.
pub fn router(services: Arc<Services>) -> Router {
    Router::new()
        .route("/sessions", get(list).delete(revoke_by_user))
        .route("/sessions/{id}", delete(revoke_by_id))
        .route("/introspect", post(introspect))
        .route("/drain", post(drain))
        .layer(from_fn(remember_request))
        .with_state(services)
}

/// Why a request of an administrator fails. The text goes to the administrator.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error("no session has the id {0}; list the sessions to find its id")]
    NoSession(String),

    #[error("{0:?} is not the id of a session; list the sessions to find it")]
    MalformedId(String),

    #[error(
        "{0:?} is not the object id of a user in Entra, a GUID; az ad user show --id <name> --query id prints it"
    )]
    MalformedUser(String),

    #[error("sessions are not available; try again, and read the log of the auth-sidecar if this persists")]
    Unavailable(#[from] SessionError),
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoSession(_) => StatusCode::NOT_FOUND,
            Self::MalformedId(_) | Self::MalformedUser(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(source) => {
                let error: &dyn std::error::Error = source;
                tracing::error!(
                    error,
                    "Unable to answer an administrator: the session store is not available"
                );
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let error = self.to_string();
        (status, Json(ErrorMessage { error })).into_response()
    }
}

#[derive(Deserialize)]
struct ListParameters {
    cursor: Option<String>,
    user: Option<String>,
}

async fn list(
    State(services): State<Arc<Services>>,
    Query(parameters): Query<ListParameters>,
) -> Result<Json<PageMessage>, AdminError> {
    let user = parameters.user.map(user_id).transpose()?;
    let page = services.sessions.list(parameters.cursor.as_deref()).await?;
    let is_wanted = |session: &ListedSession| user.as_ref().is_none_or(|user| session.user == *user);
    let sessions = page.sessions.into_iter().filter(is_wanted).map(message).collect();
    Ok(Json(PageMessage {
        sessions,
        next: page.next,
    }))
}

fn message(session: ListedSession) -> SessionMessage {
    SessionMessage {
        id: session.id.to_string(),
        user: session.user,
        client_name: shown_client_name(session.client_name.as_deref()),
        client_id: session.client_id,
        signed_in_at: session.signed_in_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
        ends_at: session.ends_at,
    }
}

async fn revoke_by_id(
    State(services): State<Arc<Services>>,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<RevokedMessage>, AdminError> {
    let Some(session) = SessionId::parse(&id) else {
        return Err(AdminError::MalformedId(id));
    };
    if !services.sessions.revoke_by_id(&session).await? {
        return Err(AdminError::NoSession(id));
    }
    Ok(Json(RevokedMessage {
        revoked: 1,
        complete: true,
    }))
}

#[derive(Deserialize)]
struct UserParameter {
    user: String,
}

async fn revoke_by_user(
    State(services): State<Arc<Services>>,
    Query(UserParameter { user }): Query<UserParameter>,
) -> Result<Json<RevokedMessage>, AdminError> {
    let RevokedSessions { count, is_complete } = services.sessions.revoke_by_user(&user_id(user)?).await?;
    Ok(Json(RevokedMessage {
        revoked: count,
        complete: is_complete,
    }))
}

/// Returns an object id as Entra writes it, in lower case.
fn user_id(text: String) -> Result<String, AdminError> {
    if is_guid(&text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(AdminError::MalformedUser(text))
    }
}

async fn drain(State(services): State<Arc<Services>>) -> Json<DrainMessage> {
    tracing::info!("The Pod stops: clients are asked to open connections to other Pods");
    services.drain.cancel();
    Json(DrainMessage { draining: true })
}

#[derive(Deserialize)]
struct IntrospectionForm {
    token: Secret,
}

async fn introspect(
    State(services): State<Arc<Services>>,
    Form(IntrospectionForm { token }): Form<IntrospectionForm>,
) -> Result<Json<IntrospectionMessage>, AdminError> {
    let token = services.sessions.introspect(&token).await?;
    // The proxy refuses the token of a denied client, too.
    let token = token.filter(|token| !services.clients.denies(&token.client_id));
    Ok(Json(IntrospectionMessage {
        active: token.is_some(),
        token: token.map(|token| describe(&services, token)),
    }))
}

fn describe(services: &Services, token: ActiveToken) -> TokenMessage {
    let token_use = if token.is_access_token {
        "access_token"
    } else {
        "refresh_token"
    };
    TokenMessage {
        scope: token.scopes.to_string(),
        client_id: token.client_id,
        token_use: token_use.to_owned(),
        exp: token.expires_at.as_second(),
        iat: token.issued_at.as_second(),
        auth_time: token.signed_in_at.as_second(),
        sub: token.user.oid,
        aud: token.resource,
        iss: services.addresses.issuer().to_owned(),
        sid: token.session.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt as _;

    use super::*;

    #[tokio::test]
    async fn the_socket_belongs_to_its_user_alone_and_replaces_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        for _ in 0..2 {
            let _listener = bind(&path).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert!(metadata.file_type().is_socket());
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            tokio::net::UnixStream::connect(&path).await.unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_socket_that_cannot_be_created_names_its_path() {
        let error = bind(Path::new("/nonexistent/admin.sock")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/admin.sock"), "{error}");
    }
}
