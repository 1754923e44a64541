//! A simulator, a tenant that signs tokens for it, and a clock that the test moves.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock, Mutex},
};

use axum::{Json, Router, routing::get};
use behalf_simulators::{
    azure_devops::{
        AzureDevOpsOptions, AzureDevOpsSimulator, Clock, Control, Fault, Permissions, RecordedCall, Settings,
    },
    keys::RSA,
    listener::{Listener, Serving},
    people::{ANA, AZURE_DEVOPS_APPLICATION_ID, Person, TENANT_ID},
};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use url::Url;

/// Two keys of the tenant and an unpublished one.
static KEYS: LazyLock<[SigningKey; 3]> = LazyLock::new(|| {
    [
        SigningKey::new("one", RSA[0]),
        SigningKey::new("two", RSA[1]),
        SigningKey::new("one", RSA[2]),
    ]
});

pub(crate) struct SigningKey {
    kid: &'static str,
    key: EncodingKey,
}

impl SigningKey {
    fn new(kid: &'static str, pem: &str) -> Self {
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        Self { kid, key }
    }

    /// As Entra publishes it: without `alg`.
    fn public(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, Algorithm::RS256).unwrap()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// The key the tenant starts with.
pub(crate) fn tenants_key() -> &'static SigningKey {
    &KEYS[0]
}

/// The key the tenant publishes after a rotation.
pub(crate) fn rotated_key() -> &'static SigningKey {
    &KEYS[1]
}

/// A key with the tenant's key id that the tenant never published.
pub(crate) fn forged_key() -> &'static SigningKey {
    &KEYS[2]
}

/// The simulator with everything around it.
pub(crate) struct Bench {
    pub(crate) simulator: AzureDevOpsSimulator,
    pub(crate) control: Control,
    pub(crate) issuer: String,
    pub(crate) authority: Url,
    published: Arc<Mutex<Vec<Value>>>,
    clock: Arc<Mutex<Timestamp>>,
    http: reqwest::Client,
    _tenant: Serving,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(AzureDevOpsOptions) -> AzureDevOpsOptions) -> Self {
        let tenant = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)
            .await
            .unwrap();
        let base = tenant.base_url();
        let issuer = format!("{base}/{TENANT_ID}/v2.0");
        let published = Arc::new(Mutex::new(vec![tenants_key().public()]));
        let discovery = json!({"issuer": issuer, "jwks_uri": format!("{base}/keys")});
        let keys = Arc::clone(&published);
        let router = Router::new()
            .route(
                &format!("/{TENANT_ID}/v2.0/.well-known/openid-configuration"),
                get(|| async move { Json(discovery) }),
            )
            .route(
                "/keys",
                get(|| async move { Json(json!({"keys": *keys.lock().unwrap()})) }),
            );
        let serving = tenant.serve(router);

        let clock: Arc<Mutex<Timestamp>> = Arc::new(Mutex::new("2026-04-01T12:00:00Z".parse().unwrap()));
        let read = Arc::clone(&clock);
        let authority = Url::parse(&base).unwrap();
        let options = AzureDevOpsOptions {
            clock: Clock::new(move || *read.lock().unwrap()),
            ..AzureDevOpsOptions::new(authority.clone())
        };
        let simulator = AzureDevOpsSimulator::start(change(options)).await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            control: simulator.control(),
            simulator,
            issuer,
            authority,
            published,
            clock,
            http,
            _tenant: serving,
        }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        let mut now = self.clock.lock().unwrap();
        *now += SignedDuration::from_secs(seconds);
    }

    pub(crate) fn publish_rotated_key(&self) {
        *self.published.lock().unwrap() = vec![rotated_key().public()];
    }

    /// Claims of a good token.
    pub(crate) fn claims(&self, person: Person) -> Value {
        let now = self.clock.lock().unwrap().as_second();
        json!({
            "iss": self.issuer,
            "aud": AZURE_DEVOPS_APPLICATION_ID,
            "iat": now,
            "nbf": now,
            "exp": now + 4_000,
            "tid": TENANT_ID,
            "oid": person.object_id,
            "sub": "pairwise",
            "name": person.display_name,
            "preferred_username": person.user_name,
            "scp": "user_impersonation",
            "sim_grant": "onBehalfOf",
            "ver": "2.0",
        })
    }

    pub(crate) fn token(&self, person: Person) -> String {
        tenants_key().sign(&self.claims(person))
    }

    /// A request to the core service without a token. `path` begins after the organization.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_to(&self.simulator.core_url(), method, path)
    }

    pub(crate) fn request_to(&self, base: &Url, method: Method, path: &str) -> RequestBuilder {
        self.bare_request(base, method, path)
            .header("accept", "application/json")
    }

    /// A request without an `Accept` header.
    pub(crate) fn bare_request(&self, base: &Url, method: Method, path: &str) -> RequestBuilder {
        let base = base.as_str().trim_end_matches('/');
        self.http.request(method, format!("{base}/contoso{path}"))
    }

    /// `GET` at the core service as `person`.
    pub(crate) async fn get(&self, person: Person, path: &str) -> Answer {
        send(self.request(Method::GET, path).bearer_auth(self.token(person))).await
    }

    /// `GET` at the release service as `person`.
    pub(crate) async fn get_release(&self, person: Person, path: &str) -> Answer {
        let request = self.request_to(&self.simulator.release_url(), Method::GET, path);
        send(request.bearer_auth(self.token(person))).await
    }

    /// Any method with a JSON body at the core service.
    pub(crate) async fn send(&self, person: Person, method: Method, path: &str, body: &Value) -> Answer {
        send(
            self.request(method, path)
                .bearer_auth(self.token(person))
                .json(body),
        )
        .await
    }

    /// Starts a run of a pipeline of `shop`.
    pub(crate) async fn run(&self, person: Person, pipeline: u32, body: &Value) -> Answer {
        self.send(
            person,
            Method::POST,
            &format!("/shop/_apis/pipelines/{pipeline}/runs?api-version=7.1"),
            body,
        )
        .await
    }

    /// Ids of the builds that a list shows, in order.
    pub(crate) async fn build_ids(&self, person: Person, query: &str) -> Vec<u64> {
        let answer = self
            .get(person, &format!("/shop/_apis/build/builds?{query}"))
            .await;
        answer
            .ok()
            .items()
            .iter()
            .map(|build| build["id"].as_u64().unwrap())
            .collect()
    }

    pub(crate) async fn fault(&self, fault: Fault) {
        self.control.fault(&fault).await.unwrap();
    }

    pub(crate) async fn settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.control.settings().await.unwrap();
        change(&mut settings);
        self.control.change_settings(&settings).await.unwrap();
    }

    pub(crate) async fn permissions(&self, person: Person, change: impl FnOnce(&mut Permissions)) {
        let mut all = self.control.permissions().await.unwrap();
        let mut permissions = all.remove(person.object_id).unwrap();
        change(&mut permissions);
        self.control
            .change_permissions(person.object_id, &permissions)
            .await
            .unwrap();
    }

    /// The newest entry of the record.
    pub(crate) async fn last_call(&self) -> RecordedCall {
        self.control.record().await.unwrap().pop().unwrap()
    }

    /// `GET` of something harmless with this token, by Ana unless the token says otherwise.
    pub(crate) async fn try_token(&self, token: &str) -> Answer {
        send(self.request(Method::GET, "/_apis/projects").bearer_auth(token)).await
    }

    /// One good call, so that the keys are cached.
    pub(crate) async fn warm_up(&self) {
        self.get(ANA, "/_apis/projects").await.ok();
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.bytes().await.unwrap().to_vec(),
    }
}

impl Answer {
    /// Asserts that the status is 200.
    pub(crate) fn ok(self) -> Self {
        self.expect(200)
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// `value` of the envelope, whose `count` must agree.
    pub(crate) fn items(&self) -> Vec<Value> {
        let body = self.json();
        let items = body["value"].as_array().unwrap().clone();
        assert_eq!(body["count"], items.len());
        items
    }

    /// Asserts an error in the service's JSON shape and gives its message.
    pub(crate) fn error(self, status: u16, type_key: &str) -> String {
        let answer = self.expect(status);
        let body = answer.json();
        assert_eq!(body["typeKey"], type_key);
        assert_eq!(body["$id"], "1");
        assert_eq!(body["innerException"], Value::Null);
        assert_eq!(body["errorCode"], 0);
        assert_eq!(body["eventId"], 3000);
        assert!(
            body["typeName"]
                .as_str()
                .unwrap()
                .contains(&format!(".{type_key}, "))
        );
        body["message"].as_str().unwrap().to_owned()
    }

    /// Asserts 400 in the wrapped shape of model binding and gives its message.
    pub(crate) fn wrapped_error(self) -> String {
        let answer = self.expect(400);
        let body = answer.json();
        assert_eq!(body["count"], 1);
        body["value"]["Message"].as_str().unwrap().to_owned()
    }
}
