//! The surroundings of the sidecar: the cluster's issuer, Entra, a server, the mounted files, and a signed-in user.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use behalf_auth_sidecar::access::Scopes;
use behalf_auth_sidecar::clients::{PublicAddresses, SystemResolver};
use behalf_auth_sidecar::host_key::HostKey;
use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::observe::sign_ins::SignIns;
use behalf_auth_sidecar::observe::{FederationProbe, ProbeResults, ProbeTrigger};
use behalf_auth_sidecar::router;
use behalf_auth_sidecar::services::{Environment, Services};
use behalf_auth_sidecar::sessions::{CodeRedemption, NewLogin, Sessions};
use behalf_auth_sidecar::store::{MemoryLimits, MemoryStore, SessionStore};
use behalf_auth_sidecar::telemetry::metrics::Metrics;
use behalf_contract::{
    AccessConfig, ClientsConfig, DynamicRegistration, EntraConfig, ExchangePlace, Injection, ObjectIdentity,
    ServerKind, SessionsConfig, SidecarConfig, SidecarListen, StaticClient, StoreConfig, TokenExchange,
};
use behalf_entra::{
    AZURE_DEVOPS_SCOPE, AuthorizeRequest, Clock, CodeGrant, EntraClient, FederatedTokenFile, HttpLimits,
    Proxies, RetryPolicy, Secret, Settings, SystemClock, TokenSet, TrustRoots, UserIdentity, sign_in_scope,
};
use behalf_runtime::ConfigFile;
use behalf_simulators::entra::{
    Control, Directory, EntraSimulator, EntraSimulatorOptions, IssuerFixture, MintRequest,
};
use behalf_simulators::people::{ANA, CLIENT_ID, Person, TENANT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;
use url::Url;

use crate::fake_server::FakeServer;
use crate::moved_clock::MovedClock;

pub(crate) const CLIENT: &str = "test-client";

/// The material of the only key.
pub(crate) const KEY_MATERIAL: [u8; 32] = [7; 32];

const VERIFIER: &str = "a-verifier-that-is-long-enough-for-rfc-7636-to-take";

/// The world outside of the sidecar.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) issuer: IssuerFixture,
    pub(crate) entra: EntraSimulator,
    pub(crate) server: FakeServer,
    /// The sidecar's clock. Tests advance it.
    pub(crate) clock: Arc<MovedClock>,
}

impl World {
    /// Starts the surroundings, with a working federation.
    pub(crate) async fn start() -> Self {
        // Both are idempotent: the first test of the process installs the provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let issuer = IssuerFixture::start().await.unwrap();
        let mut directory = Directory::contoso();
        directory
            .application_mut(CLIENT_ID)
            .unwrap()
            .federated_credentials = vec![issuer.credential()];
        let options = EntraSimulatorOptions {
            directory,
            ..EntraSimulatorOptions::default()
        };
        let entra = EntraSimulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let world = Self {
            folder,
            issuer,
            entra,
            server: FakeServer::start().await,
            clock: Arc::default(),
        };
        world
            .issuer
            .write_token(&world.token_file(), &world.issuer.token().unwrap())
            .unwrap();
        let material = STANDARD.encode(KEY_MATERIAL);
        let keys = |id: &str| json!({"sealing": id, "keys": [{"id": id, "material": material, "createdAt": "2026-01-01T00:00:00Z"}]});
        let keyring = json!({"sessions": keys("k1"), "clients": keys("c1")});
        std::fs::write(world.file("keyring.json"), keyring.to_string()).unwrap();
        std::fs::write(world.file("revocations.json"), r#"{"users":[]}"#).unwrap();
        world
    }

    pub(crate) fn control(&self) -> Control {
        self.entra.control()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.file("token")
    }

    /// A configuration as the operator writes it.
    pub(crate) fn config(&self, at: ExchangePlace, injection: Injection) -> SidecarConfig {
        SidecarConfig {
            object: ObjectIdentity {
                namespace: "mcp".to_owned(),
                name: "azure-devops".to_owned(),
            },
            public_url: Url::parse("https://mcp.contoso.example").unwrap(),
            entra: EntraConfig {
                tenant_id: TENANT_ID.to_owned(),
                client_id: CLIENT_ID.to_owned(),
                authority: self.entra.authority(),
                scope: format!("{CLIENT_ID}/.default"),
                federation_audience: "api://AzureADTokenExchange".to_owned(),
                certificate_authority_file: None,
            },
            upstream: self.server.endpoint(),
            tenant_address: None,
            access: AccessConfig {
                server: ServerKind::AzureDevOps {
                    organization: "contoso".to_owned(),
                },
                read_only_tools: vec!["list".to_owned()],
                writes: true,
            },
            token_exchange: TokenExchange {
                at,
                scope: (injection != Injection::None).then(|| AZURE_DEVOPS_SCOPE.to_owned()),
                injection,
            },
            sessions: SessionsConfig {
                access_token_lifetime_seconds: 3600,
                idle_lifetime_seconds: 1_209_600,
                maximum_lifetime_seconds: 7_776_000,
                refresh_grace_seconds: 120,
                store: StoreConfig::Memory,
            },
            clients: ClientsConfig {
                dynamic_registration: DynamicRegistration::Enabled,
                metadata_documents: behalf_contract::MetadataDocumentsConfig {
                    policy: behalf_contract::MetadataDocumentsPolicy::Enabled,
                    allowed_hosts: Vec::new(),
                    hosts_by_name: Vec::new(),
                },
                vendor_redirects: behalf_contract::VendorRedirects::Enabled,
                additional_redirect_hosts: Vec::new(),
                r#static: Vec::new(),
                denied: Vec::new(),
                consent: behalf_contract::Consent::Always,
                entra_token_clients: Vec::new(),
            },
            trusted_proxies: Vec::new(),
            tracing: None,
            egress_proxy: None,
            listen: SidecarListen {
                public: "127.0.0.1:0".parse().unwrap(),
                internal: "127.0.0.1:0".parse().unwrap(),
            },
            keyring_file: self.file("keyring.json"),
            revocations_file: self.file("revocations.json"),
            admin_socket: self.file("admin.sock"),
            host_key_file: self.file("host-key"),
            termination_grace_period_seconds: 60,
        }
    }

    /// The configuration file that `Sidecar::start` needs.
    pub(crate) fn loaded(&self) -> ConfigFile<SidecarConfig> {
        let config = self.config(ExchangePlace::Sidecar, Injection::Header);
        ConfigFile {
            config,
            digest: "sha256:0123".to_owned(),
        }
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment {
            federated_token_file: Some(self.token_file()),
            entra_retry: RetryPolicy::default(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            document_resolver: Arc::new(PublicAddresses::of(Arc::new(SystemResolver))),
        }
    }

    fn client(&self) -> EntraClient {
        let settings = Settings::new(&self.entra.authority(), TENANT_ID, CLIENT_ID).unwrap();
        let http = TrustRoots::system()
            .http_client(HttpLimits::default(), Proxies::None)
            .unwrap();
        let assertion = FederatedTokenFile::new(self.token_file());
        EntraClient::with_retry_policy(settings, assertion, http, self.clock.clone(), no_retry())
    }

    pub(crate) fn probe(&self, injection: Injection) -> FederationProbe {
        let config = self.config(ExchangePlace::Sidecar, injection);
        FederationProbe::new(self.client(), &config)
    }

    /// A sidecar as a router.
    pub(crate) fn sidecar(&self, at: ExchangePlace, injection: Injection) -> Sidecar {
        self.sidecar_with(self.config(at, injection))
    }

    /// A sidecar that passes no token on, and knows [`CLIENT`] at its OAuth endpoints.
    pub(crate) fn sidecar_for_client(&self) -> Sidecar {
        self.sidecar_with(self.config_for_client(Injection::None))
    }

    /// The configuration of a sidecar that exchanges, and knows [`CLIENT`] at its OAuth endpoints.
    pub(crate) fn config_for_client(&self, injection: Injection) -> SidecarConfig {
        let mut config = self.config(ExchangePlace::Sidecar, injection);
        config.clients.r#static = vec![StaticClient {
            client_id: CLIENT.to_owned(),
            display_name: "Test".to_owned(),
            redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        }];
        config
    }

    /// A sidecar with a configuration of its own.
    pub(crate) fn sidecar_with(&self, config: SidecarConfig) -> Sidecar {
        let store = MemoryStore::new(MemoryLimits::default(), self.clock.clone());
        self.sidecar_with_store(config, Arc::new(store))
    }

    /// A sidecar whose server reads and never answers, and this server.
    pub(crate) async fn sidecar_with_silent_server(&self) -> (Sidecar, TcpListener) {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = self.config(ExchangePlace::Sidecar, Injection::None);
        config.upstream = format!("http://{}/mcp", silent.local_addr().unwrap())
            .parse()
            .unwrap();
        (self.sidecar_with(config), silent)
    }

    /// A sidecar that keeps its sessions in this store.
    pub(crate) fn sidecar_with_store(&self, config: SidecarConfig, store: Arc<dyn SessionStore>) -> Sidecar {
        let loaded = ConfigFile {
            config,
            digest: "sha256:0123".to_owned(),
        };
        let environment = Environment {
            entra_retry: no_retry(),
            clock: self.clock.clone(),
            ..self.environment()
        };
        let host_key = HostKey::from_random(&[42; 32]);
        let services = Services::with_store(loaded, environment, &host_key, store).unwrap();
        let services = Arc::new(services);
        let host_key = host_key.header_value().to_str().unwrap().to_owned();
        let traces_end = CancellationToken::new();
        Sidecar {
            traces: tokio::spawn(services.export_traces(traces_end.clone())),
            traces_end: traces_end.drop_guard(),
            router: Router::new().fallback_service(router::public_port(&services)),
            sessions: services.sessions.clone(),
            metrics: services.metrics.clone(),
            trigger: services.federation_trigger.clone(),
            sign_ins: services.sign_ins.clone(),
            probe_results: services.probe_results.clone(),
            services: services.clone(),
            host_key,
        }
    }

    /// A refresh token of Ana, from a whole sign-in at Entra.
    pub(crate) async fn refresh_token(&self) -> Secret {
        const CALLBACK: &str = "http://127.0.0.1/callback";
        self.control()
            .add_redirect_uri(CLIENT_ID, CALLBACK)
            .await
            .unwrap();
        let scope = sign_in_scope(&format!("{CLIENT_ID}/.default"));
        let request = AuthorizeRequest {
            redirect_uri: CALLBACK,
            scope: &scope,
            state: "handle",
            code_challenge: &URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)),
            nonce: "n1",
            consent: false,
            claims: None,
        };
        let client = self.client();
        let url = client.authorize_url(&request).await.unwrap();
        let visit = Visit::new(url, ANA.user_name);
        let signed_in = Browser::new().unwrap().sign_in(&visit).await.unwrap();
        let grant = CodeGrant {
            code: &Secret::new(signed_in.code.unwrap()),
            redirect_uri: CALLBACK,
            code_verifier: &Secret::new(VERIFIER),
            scope: &scope,
        };
        let tokens = client.redeem_code(grant).await.unwrap();
        tokens.refresh_token.unwrap()
    }

    /// A token of this person for this application, as a login brings it.
    async fn user_token(&self, person: Person) -> String {
        self.control()
            .mint(&MintRequest::for_user(person.user_name))
            .await
            .unwrap()
    }
}

fn no_retry() -> RetryPolicy {
    RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    }
}

/// The sidecar's public face.
pub(crate) struct Sidecar {
    pub(crate) router: Router,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) trigger: ProbeTrigger,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) probe_results: Arc<ProbeResults>,
    pub(crate) services: Arc<Services>,
    pub(crate) host_key: String,
    /// The export of traces. It ends at once without a collector.
    pub(crate) traces: JoinHandle<()>,
    pub(crate) traces_end: DropGuard,
}

/// The tokens of a client after a login.
pub(crate) struct Login {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Secret,
    /// Entra's token for this application, which no client ever sees.
    pub(crate) at_entra: String,
}

impl Sidecar {
    /// Ana signs in.
    pub(crate) async fn sign_in(&self, world: &World) -> Login {
        self.sign_in_as(world, ANA).await
    }

    /// This person signs in.
    pub(crate) async fn sign_in_as(&self, world: &World, person: Person) -> Login {
        self.sign_in_with(world, person, SignedDuration::from_hours(1), None)
            .await
    }

    /// Ana signs in, and Entra's token lives for `life`.
    pub(crate) async fn sign_in_for(
        &self,
        world: &World,
        life: SignedDuration,
        refresh_token: Option<Secret>,
    ) -> Login {
        self.sign_in_with(world, ANA, life, refresh_token).await
    }

    async fn sign_in_with(
        &self,
        world: &World,
        person: Person,
        life: SignedDuration,
        refresh_token: Option<Secret>,
    ) -> Login {
        let (code, at_entra) = self.issue_code(world, person, life, refresh_token).await;
        let redemption = CodeRedemption {
            code: &code,
            client_id: CLIENT,
            redirect_uri: None,
            code_verifier: &Secret::new(VERIFIER),
            address: None,
        };
        let tokens = self.sessions.redeem_code(redemption).await.unwrap();
        Login {
            access_token: tokens.access_token.expose().to_owned(),
            refresh_token: tokens.refresh_token,
            at_entra,
        }
    }

    /// This person signs in at Entra. Returns the code for the client, and Entra's token for this application, which lives for
    /// `life`.
    pub(crate) async fn issue_code(
        &self,
        world: &World,
        person: Person,
        life: SignedDuration,
        refresh_token: Option<Secret>,
    ) -> (Secret, String) {
        let user_token = world.user_token(person).await;
        let login = NewLogin {
            user: UserIdentity {
                tid: TENANT_ID.to_owned(),
                oid: person.object_id.to_owned(),
            },
            client_id: CLIENT.to_owned(),
            client_name: Some("A test client".to_owned()),
            redirect_uri: "http://127.0.0.1/callback".to_owned(),
            code_challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)),
            scopes: Scopes::ALL,
            tokens: TokenSet {
                access_token: Secret::new(user_token.clone()),
                expires_at: world.clock.now() + life,
                refresh_token,
                id_token: None,
            },
        };
        (self.sessions.issue_code(login).await.unwrap(), user_token)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Posts a message as this user.
    pub(crate) async fn post(&self, login: &Login, message: &Value) -> Response<Body> {
        self.send(post(login).body(Body::from(message.to_string())).unwrap())
            .await
    }

    /// Posts a form of an OAuth endpoint.
    pub(crate) async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = Request::post(format!("https://mcp.contoso.example{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body));
        self.send(request.unwrap()).await
    }

    /// How often something was counted: the value of the line that begins so.
    pub(crate) fn count(&self, line: &str) -> u64 {
        let page = self.metrics.encode();
        let value = page.lines().find_map(|text| text.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// The counter of a security event.
    pub(crate) fn security_events(&self, event: &str) -> u64 {
        self.count(&format!("behalf_security_events_total{{event=\"{event}\"}} "))
    }
}

/// A POST to `/mcp` as a client sends it.
pub(crate) fn post(login: &Login) -> axum::http::request::Builder {
    Request::post("https://mcp.contoso.example/mcp")
        .header("authorization", format!("Bearer {}", login.access_token))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

pub(crate) fn call() -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "run", "arguments": {"a": 1}}})
}

pub(crate) fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 8, "method": "tools/list"})
}

pub(crate) async fn body(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// `aud` of a token, unverified.
pub(crate) fn audience(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    payload["aud"].as_str().unwrap().to_owned()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
