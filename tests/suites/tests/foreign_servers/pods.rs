//! Pods without a cluster: sidecars with a common session store, each in front of a server process of its own, and a
//! gateway that sends every request to one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use behalf_auth_sidecar::clients::{PublicAddresses, SystemResolver};
use behalf_auth_sidecar::host_key::HostKey;
use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::router;
use behalf_auth_sidecar::services::{Environment, Services};
use behalf_auth_sidecar::store::{MemoryLimits, MemoryStore};
use behalf_contract::{Injection, SidecarConfig};
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn, SignedIn};
use behalf_entra::{AZURE_DEVOPS_SCOPE, RetryPolicy, SystemClock};
use behalf_runtime::ConfigFile;
use behalf_simulators::entra::{EntraSimulator, EntraSimulatorOptions, IssuerFixture};
use behalf_simulators::people::{CLIENT_ID, Person, TENANT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_tests::foreign_server::{ForeignServer, Running};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::Url;

/// The keyring of the object: one key for each list.
const KEYRING: &str = r#"{
    "sessions": {"sealing": "k1", "keys": [
        {"id": "k1", "material": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", "createdAt": "2026-01-01T00:00:00Z"}]},
    "clients": {"sealing": "c1", "keys": [
        {"id": "c1", "material": "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=", "createdAt": "2026-01-01T00:00:00Z"}]}
}"#;

struct Pod {
    services: Arc<Services>,
    _server: Running,
}

/// The Pods of one `McpServer`, and what surrounds them.
pub(crate) struct Pods {
    base: Url,
    running: Vec<Pod>,
    current: Arc<AtomicUsize>,
    _entra: EntraSimulator,
    _issuer: IssuerFixture,
    _folder: tempfile::TempDir,
}

impl Pods {
    /// Starts Entra, the servers and the sidecars.
    pub(crate) async fn start(server: ForeignServer, injection: Injection, count: usize) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let issuer = IssuerFixture::start().await.unwrap();
        let entra = EntraSimulator::start(EntraSimulatorOptions::default())
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = Url::parse(&format!("http://localhost:{port}")).unwrap();
        let control = entra.control();
        control
            .put_federated_credentials(CLIENT_ID, &[issuer.credential()])
            .await
            .unwrap();
        control
            .add_redirect_uri(CLIENT_ID, base.join("/callback").unwrap().as_str())
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        issuer
            .write_token(&file("token"), &issuer.token().unwrap())
            .unwrap();
        std::fs::write(file("keyring.json"), KEYRING).unwrap();
        std::fs::write(file("revocations.json"), r#"{"users":[]}"#).unwrap();

        let clock = Arc::new(SystemClock);
        let environment = Environment {
            federated_token_file: Some(file("token")),
            entra_retry: RetryPolicy::default(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            document_resolver: Arc::new(PublicAddresses::of(Arc::new(SystemResolver))),
        };
        let store = Arc::new(MemoryStore::new(MemoryLimits::default(), clock));
        let mut pods = Vec::new();
        for _ in 0..count {
            let server = server.start().await.unwrap();
            let upstream = server.endpoint().unwrap();
            let config = config(&base, &entra.authority(), &upstream, injection, folder.path());
            let loaded = ConfigFile {
                config,
                digest: "sha256:0123".to_owned(),
            };
            let host_key = HostKey::from_random(&[42; 32]);
            let services =
                Services::with_store(loaded, environment.clone(), &host_key, store.clone()).unwrap();
            pods.push(Pod {
                services: Arc::new(services),
                _server: server,
            });
        }
        let current = Arc::new(AtomicUsize::new(0));
        let ports: Vec<_> = pods
            .iter()
            .map(|pod| router::public_port(&pod.services))
            .collect();
        let chosen = Arc::clone(&current);
        let gateway = Router::new().fallback(move |request: Request<Body>| {
            ports[chosen.load(Ordering::SeqCst)].clone().oneshot(request)
        });
        tokio::spawn(async move { axum::serve(listener, gateway).await });
        Self {
            base,
            running: pods,
            current,
            _entra: entra,
            _issuer: issuer,
            _folder: folder,
        }
    }

    /// From now on every request reaches this Pod.
    pub(crate) fn route_to(&self, pod: usize) {
        self.current.store(pod, Ordering::SeqCst);
    }

    pub(crate) fn mcp_url(&self) -> Url {
        self.base.join("/mcp").unwrap()
    }

    /// Number of requests that the sidecar of this Pod refused for this reason.
    pub(crate) fn refusals(&self, pod: usize, reason: &str) -> u64 {
        let line = format!("behalf_mcp_refusals_total{{reason=\"{reason}\"}} ");
        let page = self.running[pod].services.metrics.encode();
        let value = page.lines().find_map(|text| text.strip_prefix(&line));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// This person signs in with rmcp's client.
    pub(crate) async fn sign_in(&self, person: &Person) -> SignedIn {
        let pending = PendingSignIn::begin(&self.mcp_url()).await.unwrap();
        let visit = Visit::new(pending.authorize_url().clone(), person.user_name).client_name(CLIENT_NAME);
        let back = Browser::new().unwrap().sign_in(&visit).await.unwrap();
        pending.finish(&back.redirect).await.unwrap()
    }

    /// The access token of a new session of this person.
    pub(crate) async fn access_token(&self, person: &Person) -> String {
        let signed_in = self.sign_in(person).await;
        signed_in.manager().lock().await.get_access_token().await.unwrap()
    }

    /// Sends DELETE for an MCP session.
    pub(crate) async fn delete(&self, token: &str, id: &str, expected: u16) {
        let request = client()
            .delete(self.mcp_url())
            .bearer_auth(token)
            .header("mcp-session-id", id);
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected);
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().build().unwrap()
}

/// Posts a message as a client sends it.
pub(crate) async fn post(
    mcp: &Url,
    token: &str,
    session: Option<&str>,
    message: &Value,
) -> reqwest::Response {
    let request = client()
        .post(mcp.clone())
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .json(message);
    let request = match session {
        Some(id) => request.header("mcp-session-id", id),
        None => request,
    };
    request.send().await.unwrap()
}

/// The configuration that the operator writes for `server.container`.
fn config(
    base: &Url,
    authority: &Url,
    upstream: &Url,
    injection: Injection,
    folder: &std::path::Path,
) -> SidecarConfig {
    let mut exchange = json!({"at": "Sidecar", "injection": injection});
    if injection != Injection::None {
        exchange["scope"] = json!(AZURE_DEVOPS_SCOPE);
    }
    let config = json!({
        "object": {"namespace": "mcp", "name": "foreign"},
        "publicUrl": base,
        "entra": {
            "tenantId": TENANT_ID,
            "clientId": CLIENT_ID,
            "authority": authority,
            "scope": format!("{CLIENT_ID}/.default"),
            "federationAudience": "api://AzureADTokenExchange",
        },
        "upstream": upstream,
        "access": {"server": {"type": "Container"}, "readOnlyTools": [], "writes": true},
        "tokenExchange": exchange,
        "sessions": {
            "accessTokenLifetimeSeconds": 3600,
            "idleLifetimeSeconds": 14 * 24 * 3600,
            "maximumLifetimeSeconds": 90 * 24 * 3600,
            "refreshGraceSeconds": 120,
            "store": {"type": "Memory"},
        },
        "clients": {"dynamicRegistration": "Enabled",
            "metadataDocuments": {"policy": "Disabled", "allowedHosts": []}, "vendorRedirects": "Enabled",
            "additionalRedirectHosts": [], "static": [], "denied": [], "consent": "Always"},
        "listen": {"public": "127.0.0.1:0", "internal": "127.0.0.1:0"},
        "keyringFile": folder.join("keyring.json"),
        "revocationsFile": folder.join("revocations.json"),
        "adminSocket": folder.join("admin.sock"),
        "hostKeyFile": folder.join("host-key"),
        "terminationGracePeriodSeconds": 60,
    });
    serde_json::from_value(config).unwrap()
}
