//! A cluster's OIDC issuer for tests in process: it mints `ServiceAccount` tokens and publishes its keys.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::clock::system_now;
use super::keys::{KeyError, KeyRing};
use super::model::{FEDERATED_AUDIENCE, FederatedCredential};
use super::{StartError, random};
use crate::listener::{Listener, Serving};

/// A `ServiceAccount` token to mint, right in everything that is not changed.
#[derive(Debug, Clone)]
pub struct ServiceAccountToken {
    /// `iss`; absent: the fixture's.
    pub issuer: Option<String>,

    /// `sub`.
    pub subject: String,

    /// `aud`.
    pub audience: Vec<String>,

    /// `iat` and `nbf`, in seconds from now.
    pub issued_seconds: i64,

    /// `exp`, in seconds from now.
    pub expires_seconds: i64,

    /// Claims that replace the others; `null` removes a claim.
    pub claims: Map<String, Value>,

    /// Signed by a key that the issuer does not publish, under the `kid` of one it does.
    pub foreign_key: bool,
}

impl ServiceAccountToken {
    /// One hour for this subject and the usual audience.
    pub fn of(subject: &str) -> Self {
        Self {
            issuer: None,
            subject: subject.to_owned(),
            audience: vec![FEDERATED_AUDIENCE.to_owned()],
            issued_seconds: 0,
            expires_seconds: 3600,
            claims: Map::new(),
            foreign_key: false,
        }
    }

    /// With another issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.to_owned());
        self
    }

    /// With another audience.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.audience = vec![audience.to_owned()];
        self
    }

    /// Expired this many seconds ago.
    #[must_use]
    pub fn expired(mut self, seconds: i64) -> Self {
        self.issued_seconds = -seconds - 3600;
        self.expires_seconds = -seconds;
        self
    }

    /// Signed by a key that the issuer does not publish.
    #[must_use]
    pub fn foreign_key(mut self) -> Self {
        self.foreign_key = true;
        self
    }

    /// With this claim instead of the right one; `null` removes it.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }
}

struct Cluster {
    issuer: String,
    keys: Mutex<KeyRing>,
    available: AtomicBool,
}

impl Cluster {
    fn keys(&self) -> MutexGuard<'_, KeyRing> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn document<T>(&self, document: T) -> Result<Json<T>, StatusCode> {
        let available = self.available.load(Ordering::Relaxed);
        available
            .then_some(Json(document))
            .ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// A running issuer on loopback. Dropping it closes its port.
pub struct IssuerFixture {
    cluster: Arc<Cluster>,
    _serving: Serving,
}

impl IssuerFixture {
    /// Subject of [`IssuerFixture::token`].
    pub const SUBJECT: &'static str = "system:serviceaccount:mcp:azure-devops";

    /// Makes a key and serves discovery and keys.
    pub async fn start() -> Result<Self, StartError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(any, None).await.map_err(StartError::Listen)?;
        let keys = KeyRing::of_issuer().map_err(StartError::Key)?;
        let cluster = Arc::new(Cluster {
            issuer: listener.base_url(),
            keys: Mutex::new(keys),
            available: AtomicBool::new(true),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/openid/v1/jwks", get(jwks))
            .with_state(Arc::clone(&cluster));
        Ok(Self {
            cluster,
            _serving: listener.serve(router),
        })
    }

    /// The issuer, without a trailing slash.
    pub fn issuer(&self) -> &str {
        &self.cluster.issuer
    }

    /// The credential that fits [`IssuerFixture::token`].
    pub fn credential(&self) -> FederatedCredential {
        self.credential_for(Self::SUBJECT)
    }

    /// The credential that fits a token of this subject.
    pub fn credential_for(&self, subject: &str) -> FederatedCredential {
        FederatedCredential::new(self.issuer(), subject)
    }

    /// A right token for [`IssuerFixture::SUBJECT`].
    pub fn token(&self) -> Result<String, KeyError> {
        self.mint(&ServiceAccountToken::of(Self::SUBJECT))
    }

    /// A token made to measure.
    pub fn mint(&self, wanted: &ServiceAccountToken) -> Result<String, KeyError> {
        self.mint_at(wanted, system_now())
    }

    /// A token made to measure, with this moment as now.
    pub fn mint_at(&self, wanted: &ServiceAccountToken, now: Timestamp) -> Result<String, KeyError> {
        let now = now.as_second();
        let mut parts = wanted.subject.splitn(4, ':').skip(2);
        let (namespace, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let issued = now.saturating_add(wanted.issued_seconds);
        let claims = json!({
            "aud": wanted.audience,
            "exp": now.saturating_add(wanted.expires_seconds),
            "iat": issued,
            "iss": wanted.issuer.as_deref().unwrap_or(self.issuer()),
            "jti": random::guid(),
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": "node-1", "uid": random::guid()},
                "pod": {"name": format!("{name}-0"), "uid": random::guid()},
                "serviceaccount": {"name": name, "uid": random::guid()},
            },
            "nbf": issued,
            "sub": wanted.subject,
        });
        let mut claims = match claims {
            Value::Object(claims) => claims,
            _ => Map::new(),
        };
        for (name, value) in &wanted.claims {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        let mut keys = self.cluster.keys();
        if wanted.foreign_key {
            keys.sign_foreign(&claims)
        } else {
            keys.sign(&claims)
        }
    }

    /// Puts a token where the kubelet would: the file is replaced in one step.
    pub fn write_token(&self, path: &Path, token: &str) -> io::Result<()> {
        let next = path.with_extension("next");
        std::fs::write(&next, token)?;
        std::fs::rename(&next, path)
    }

    /// Signs with a new key from now on; the old ones leave the key set when `withdraw_old`.
    pub fn rotate_keys(&self, withdraw_old: bool) -> Result<(), KeyError> {
        self.cluster.keys().rotate(withdraw_old)
    }

    /// Whether discovery and keys answer, or say 503.
    pub fn set_available(&self, available: bool) {
        self.cluster.available.store(available, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for IssuerFixture {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("IssuerFixture")
            .field("issuer", &self.cluster.issuer)
            .finish_non_exhaustive()
    }
}

async fn discovery(Shared(cluster): Shared<Arc<Cluster>>) -> Result<Json<Value>, StatusCode> {
    cluster.document(json!({
        "issuer": cluster.issuer,
        "jwks_uri": format!("{}/openid/v1/jwks", cluster.issuer),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn jwks(Shared(cluster): Shared<Arc<Cluster>>) -> Result<Json<Value>, StatusCode> {
    let document = cluster.keys().document();
    cluster.document(document)
}
