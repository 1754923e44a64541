//! Starts the authorization server with the Entra simulator, and sends it requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_auth_sidecar::clients::{PublicAddresses, SystemResolver};
use behalf_auth_sidecar::host_key::HostKey;
use behalf_auth_sidecar::keys::{KeyringHandle, SystemRandom};
use behalf_auth_sidecar::observe::ProbeTrigger;
use behalf_auth_sidecar::observe::sign_ins::SignIns;
use behalf_auth_sidecar::router::{self, PublicPort};
use behalf_auth_sidecar::services::{Environment, Services};
use behalf_auth_sidecar::sessions::Sessions;
use behalf_auth_sidecar::store::{MemoryLimits, MemoryStore};
use behalf_auth_sidecar::telemetry::metrics::Metrics;
use behalf_contract::SidecarConfig;
use behalf_entra::{Clock as _, FixedClock, RetryPolicy, SystemClock};
use behalf_runtime::ConfigFile;
use behalf_simulators::entra::{EntraSimulator, EntraSimulatorOptions, IssuerFixture, Settings};
use behalf_simulators::people::{CLIENT_ID, Person};
use behalf_simulators::sign_in::{Browser, SignedIn, Visit};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use reqwest::dns::Resolve;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;
use url::Url;

pub(crate) use crate::answer::{Answer, Tokens};
use crate::breakable_store::Breakable;
use crate::configuration::{config, keyring, keyring_with_clients};
use crate::nginx::Nginx;

/// The redirect URI that test clients register by default.
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// The file of revocations of an object that has none, as the operator writes it.
const NO_REVOCATIONS: &str = r#"{"users":[]}"#;

/// A PKCE verifier of 44 characters. The minimum is 43 (RFC 7636, section 4.1).
pub(crate) const VERIFIER: &str = "a-verifier-of-the-client.0123456789_abcdefgh";

pub(crate) struct World {
    pub(crate) entra: EntraSimulator,
    pub(crate) issuer: IssuerFixture,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) store: Arc<Breakable>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) keyring: Arc<KeyringHandle>,
    pub(crate) base: Url,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) trigger: ProbeTrigger,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) replicas: Vec<Arc<Services>>,
    router: Router,
    directory: tempfile::TempDir,
    number: AtomicU64,
    config: SidecarConfig,
    environment: Environment,
    gateway: Option<Nginx>,
}

/// The way of a browser to the replicas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// A connection without TLS.
    Direct,

    /// nginx with TLS and HTTP/2.
    Gateway,
}

/// A finished login with its code.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) code: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut SidecarConfig)) -> Self {
        Self::start_replicas(1, adjust).await
    }

    /// Starts several replicas with one store. Each request reaches the next replica.
    pub(crate) async fn start_replicas(count: usize, adjust: impl FnOnce(&mut SidecarConfig)) -> Self {
        let resolver = Arc::new(PublicAddresses::of(Arc::new(SystemResolver)));
        Self::start_with_resolver(count, Door::Direct, resolver, adjust).await
    }

    /// Starts several replicas that find the hosts of metadata documents with `resolver`.
    pub(crate) async fn start_with_resolver(
        count: usize,
        door: Door,
        document_resolver: Arc<dyn Resolve>,
        adjust: impl FnOnce(&mut SidecarConfig),
    ) -> Self {
        let issuer = IssuerFixture::start().await.unwrap();
        let entra = EntraSimulator::start(EntraSimulatorOptions::default())
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = match door {
            Door::Direct => None,
            Door::Gateway => Some(Nginx::start(address).await),
        };
        let direct = || Url::parse(&format!("http://localhost:{}", address.port())).unwrap();
        let base = gateway.as_ref().map_or_else(direct, Nginx::origin);

        let control = entra.control();
        control
            .put_federated_credentials(CLIENT_ID, &[issuer.credential()])
            .await
            .unwrap();
        control
            .add_redirect_uri(CLIENT_ID, base.join("/callback").unwrap().as_str())
            .await
            .unwrap();

        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        issuer.write_token(&token_file, &issuer.token().unwrap()).unwrap();
        let keyring_file = directory.path().join("keyring.json");
        std::fs::write(&keyring_file, keyring("k1", &["k1"])).unwrap();

        std::fs::write(directory.path().join("revocations.json"), NO_REVOCATIONS).unwrap();

        let mut config = config(&base, &entra.authority(), &keyring_file);
        adjust(&mut config);

        // Records keep milliseconds.
        let whole_second = Timestamp::from_second(SystemClock.now().as_second()).unwrap();
        let clock = Arc::new(FixedClock::new(whole_second));
        let environment = Environment {
            federated_token_file: Some(token_file),
            entra_retry: RetryPolicy {
                attempts: 1,
                ..RetryPolicy::default()
            },
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            document_resolver,
        };
        let memory = MemoryStore::new(MemoryLimits::default(), clock.clone());
        let store = Arc::new(Breakable::new(memory));
        let replica = || {
            let loaded = ConfigFile {
                config: config.clone(),
                digest: "sha256:0123".to_owned(),
            };
            let host_key = HostKey::from_random(&[42; 32]);
            let services = Services::with_store(loaded, environment.clone(), &host_key, store.clone());
            Arc::new(services.unwrap())
        };
        let replicas: Vec<_> = (0..count).map(|_| replica()).collect();
        let router = round_robin(replicas.iter().map(router::public_port).collect());
        for replica in &replicas {
            let sessions = replica.sessions.clone();
            tokio::spawn(async move { sessions.follow_remote_ends().await });
            let sessions = replica.sessions.clone();
            tokio::spawn(async move { sessions.follow_revocations().await });
        }
        let services = replicas[0].clone();
        let app = router.clone();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let number = AtomicU64::new(0);
        Self {
            entra,
            issuer,
            clock,
            store,
            sessions: services.sessions.clone(),
            keyring: services.keyring.clone(),
            base,
            metrics: services.metrics.clone(),
            trigger: services.federation_trigger.clone(),
            sign_ins: services.sign_ins.clone(),
            replicas,
            router,
            directory,
            number,
            config,
            environment,
            gateway,
        }
    }

    /// The gateway in front of the replicas.
    pub(crate) fn gateway(&self) -> &Nginx {
        self.gateway.as_ref().expect("this world has no gateway")
    }

    /// Starts the replicas again with this list of denied clients. See [`Self::restarted`].
    pub(crate) fn denying(mut self, denied: &[&str]) -> Self {
        self.config.clients.denied = denied.iter().map(|&entry| entry.to_owned()).collect();
        self.restarted()
    }

    /// Starts the replicas again, on the same store and the same files. Only requests through the router reach them.
    pub(crate) fn restarted(mut self) -> Self {
        let replica = |_: &Arc<Services>| {
            let loaded = ConfigFile {
                config: self.config.clone(),
                digest: "sha256:4567".to_owned(),
            };
            let host_key = HostKey::from_random(&[42; 32]);
            let services =
                Services::with_store(loaded, self.environment.clone(), &host_key, self.store.clone());
            Arc::new(services.unwrap())
        };
        self.replicas = self.replicas.iter().map(replica).collect();
        self.router = round_robin(self.replicas.iter().map(router::public_port).collect());
        self
    }

    /// Returns the issuer, in the form in which clients compare it.
    pub(crate) fn issuer_url(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn resource(&self) -> String {
        format!("{}/mcp", self.issuer_url())
    }

    /// Entra signs a user in without a page if the browser was signed in before.
    pub(crate) async fn entra_remembers_sign_ins(&self) {
        let control = self.entra.control();
        control
            .update_settings(|settings| settings.single_sign_on = true)
            .await
            .unwrap();
    }

    /// Sets the lifetime of user tokens to exactly an hour. Otherwise each token has another one.
    pub(crate) async fn entra_tokens_live_an_hour(&self) {
        let change = |settings: &mut Settings| settings.application_token_seconds = Some(3600);
        self.entra.control().update_settings(change).await.unwrap();
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub(crate) fn write_keyring(&self, sealing: &str, ids: &[&str]) {
        std::fs::write(self.directory.path().join("keyring.json"), keyring(sealing, ids)).unwrap();
    }

    /// Changes the keys of registered clients, and lets every replica read them.
    pub(crate) fn rotate_client_keys(&self, sealing: &str, ids: &[&str]) {
        let keyring = keyring_with_clients(("k1", &["k1"]), (sealing, ids));
        std::fs::write(self.directory.path().join("keyring.json"), keyring).unwrap();
        for replica in &self.replicas {
            assert!(replica.keyring.reload().unwrap());
        }
    }

    /// Adds a key that does not seal yet, as the first step of a rotation does.
    pub(crate) fn write_keyring_with_new(
        &self,
        sealing: &str,
        ids: &[&str],
        (id, created_at): (&str, Timestamp),
    ) {
        let mut keyring: Value = serde_json::from_str(&keyring(sealing, &[ids, &[id]].concat())).unwrap();
        keyring["sessions"]["keys"][ids.len()]["createdAt"] = json!(created_at);
        std::fs::write(self.directory.path().join("keyring.json"), keyring.to_string()).unwrap();
    }

    /// Changes the file of revocations of all replicas, as the kubelet does after a change of the object.
    pub(crate) fn write_revocations(&self, revocations: &Value) {
        let path = self.directory.path().join("revocations.json");
        let new = path.with_extension("new");
        std::fs::write(&new, revocations.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    pub(crate) fn write_token(&self, token: &str) {
        self.issuer
            .write_token(&self.directory.path().join("token"), token)
            .unwrap();
    }

    /// Sends a request through the router, without a connection.
    pub(crate) async fn respond(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request through the router, and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.respond(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, &[]).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers).body(Body::empty()).unwrap())
            .await
    }

    /// Posts a form, as a program does.
    pub(crate) async fn post_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let request = request(Method::POST, path, headers)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(encode(fields)));
        self.send(request.unwrap()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let request = request(Method::POST, path, &[])
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    /// Registers a client and returns its id.
    pub(crate) async fn register(&self, redirect_uris: &[&str]) -> String {
        let body = json!({"client_name": "A test client", "redirect_uris": redirect_uris});
        let answer = self.post_json("/register", &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// Returns the path of an authorization request. `changes` replace parameters. An empty value removes one.
    pub(crate) fn authorize_path(&self, client_id: &str, changes: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let resource = self.resource();
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("state", "a-state"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("resource", resource.as_str()),
            ("scope", "mcp:read mcp:run"),
        ];
        for (name, value) in changes {
            fields.retain(|(other, _)| other != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        format!("/authorize?{}", encode(&fields))
    }

    /// Submits the form of a consent page with "Allow", in the browser that got the page.
    pub(crate) async fn approve(&self, page: &Answer) -> Answer {
        let (request, csrf) = page.form();
        let fields = [("request", &*request), ("csrf", &csrf), ("decision", "allow")];
        self.post_form("/consent", &fields, &[("cookie", &page.cookie())])
            .await
    }

    /// Opens a login of this client, and approves it.
    pub(crate) async fn approved(&self, client_id: &str) -> Answer {
        let page = self.get(&self.authorize_path(client_id, &[])).await;
        self.approve(&page).await
    }

    /// Signs a person in, through consent and Entra.
    pub(crate) async fn sign_in(&self, client_id: &str, person: Person) -> SignedIn {
        self.sign_in_with(&Browser::new().unwrap(), client_id, person)
            .await
    }

    pub(crate) async fn sign_in_with(&self, browser: &Browser, client_id: &str, person: Person) -> SignedIn {
        let url = self.base.join(&self.authorize_path(client_id, &[])).unwrap();
        browser.sign_in(&Visit::new(url, person.user_name)).await.unwrap()
    }

    /// Registers a client, and signs a person in through it.
    pub(crate) async fn login(&self, person: Person) -> Login {
        let client_id = self.register(&[REDIRECT_URI]).await;
        self.login_of(&client_id, person).await
    }

    pub(crate) async fn login_of(&self, client_id: &str, person: Person) -> Login {
        let signed_in = self.sign_in(client_id, person).await;
        let code = signed_in
            .code
            .unwrap_or_else(|| panic!("{:?}", signed_in.error_description));
        Login {
            client_id: client_id.to_owned(),
            redirect_uri: REDIRECT_URI.to_owned(),
            code,
        }
    }

    pub(crate) async fn redeem(&self, login: &Login, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &login.client_id),
            ("code", &login.code),
            ("redirect_uri", &login.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in changes {
            fields.retain(|(other, _)| other != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        self.post_form("/token", &fields, &[]).await
    }

    pub(crate) async fn refresh(&self, client_id: &str, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", token),
        ];
        fields.extend_from_slice(more);
        self.post_form("/token", &fields, &[]).await
    }

    /// Signs a person in, and redeems the code.
    pub(crate) async fn session(&self, person: Person) -> (Login, Tokens) {
        let login = self.login(person).await;
        let tokens = self.redeem(&login, &[]).await.tokens();
        (login, tokens)
    }

    /// Returns the counter of a security event.
    pub(crate) fn counted(&self, event: &str) -> u64 {
        let text = self.metrics.encode();
        let label = format!("event=\"{event}\"");
        let line = text.lines().find(|line| line.contains(&label)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Returns a different number at each call.
    pub(crate) fn next(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

/// Returns the text with another letter at `index`.
pub(crate) fn flip(text: &str, index: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[index] = if bytes[index] == b'a' { b'b' } else { b'a' };
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

pub(crate) fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
}

/// Sends each request to the next of these replicas.
fn round_robin(replicas: Vec<PublicPort>) -> Router {
    let turn = Arc::new(AtomicUsize::new(0));
    Router::new().fallback(move |request: Request<Body>| {
        let number = turn.fetch_add(1, Ordering::Relaxed);
        replicas[number % replicas.len()].clone().oneshot(request)
    })
}
