//! A scripted Entra on loopback, and a client of it.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::{
    EntraClient, FederatedTokenFile, FixedClock, HttpLimits, Proxies, RetryPolicy, Secret, Settings,
    TrustRoots,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockBuilder, MockServer, ResponseTemplate};

pub(crate) const TENANT: &str = "0b4f3a51-6a2c-4c0e-9d3b-2f4e5a6b7c8d";
pub(crate) const CLIENT: &str = "7d0c2f1e-1111-4222-8333-944445555666";

/// `{"alg":"none"}` and the claims of a `ServiceAccount` token of cluster one, unsigned: no test here checks it.
pub(crate) const ASSERTION: &str = "eyJhbGciOiJub25lIn0.\
    eyJpc3MiOiJodHRwczovL29uZS5leGFtcGxlLyIsInN1YiI6InMiLCJhdWQiOlsiYSJdfQ.c2ln";

/// As [`ASSERTION`], of cluster two.
pub(crate) const RENEWED: &str = "eyJhbGciOiJub25lIn0.\
    eyJpc3MiOiJodHRwczovL3R3by5leGFtcGxlLyIsInN1YiI6InMiLCJhdWQiOlsiYSJdfQ.c2ln";

pub(crate) struct Entra {
    pub(crate) server: MockServer,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) client: EntraClient,
    pub(crate) assertion: NamedTempFile,
}

/// Tries without pauses, and an answer has to come within the limits of a test.
pub(crate) fn policy() -> RetryPolicy {
    RetryPolicy {
        base: Duration::ZERO,
        random: || 0.0,
        ..RetryPolicy::default()
    }
}

impl Entra {
    /// With a discovery document whose endpoints are on the same server.
    pub(crate) async fn start() -> Self {
        let entra = Self::without_discovery().await;
        entra.publish(&entra.document()).await;
        entra
    }

    pub(crate) async fn without_discovery() -> Self {
        Self::with_limits(HttpLimits::default()).await
    }

    pub(crate) async fn with_limits(limits: HttpLimits) -> Self {
        let server = MockServer::start().await;
        let assertion = NamedTempFile::new().unwrap();
        std::fs::write(assertion.path(), ASSERTION).unwrap();
        let clock = Arc::new(FixedClock::new("2026-11-02T09:00:00Z".parse().unwrap()));
        let client = EntraClient::with_retry_policy(
            Settings::new(&Url::parse(&server.uri()).unwrap(), TENANT, CLIENT).unwrap(),
            FederatedTokenFile::new(assertion.path().to_owned()),
            TrustRoots::system().http_client(limits, Proxies::None).unwrap(),
            clock.clone(),
            policy(),
        );
        Self {
            server,
            clock,
            client,
            assertion,
        }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("{}/{TENANT}/v2.0", self.server.uri())
    }

    pub(crate) fn document(&self) -> Value {
        let base = format!("{}/{TENANT}", self.server.uri());
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        })
    }

    pub(crate) async fn publish(&self, document: &Value) {
        discovery()
            .respond_with(ResponseTemplate::new(200).set_body_json(document))
            .mount(&self.server)
            .await;
    }

    pub(crate) async fn answer(&self, response: ResponseTemplate) {
        token().respond_with(response).mount(&self.server).await;
    }

    /// Mounts an answer for one request. It precedes all answers of `answer`.
    pub(crate) async fn answer_once(&self, response: ResponseTemplate) {
        let mock = token().respond_with(response).up_to_n_times(1).with_priority(1);
        mock.mount(&self.server).await;
    }

    /// The forms that the token endpoint got, decoded, in order.
    pub(crate) async fn forms(&self) -> Vec<Vec<(String, String)>> {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .iter()
            .filter(|request| request.url.path().ends_with("/token"))
            .map(|request| url::form_urlencoded::parse(&request.body).into_owned().collect())
            .collect()
    }

    /// Number of requests to paths with this end.
    pub(crate) async fn count(&self, end: &str) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .iter()
            .filter(|request| request.url.path().ends_with(end))
            .count()
    }

    pub(crate) async fn probe(&self) -> Result<(), behalf_entra::EntraError> {
        self.client
            .client_credentials(behalf_entra::AZURE_DEVOPS_SCOPE)
            .await
    }
}

pub(crate) fn discovery() -> MockBuilder {
    Mock::given(method("GET")).and(path(format!("/{TENANT}/v2.0/.well-known/openid-configuration")))
}

pub(crate) fn token() -> MockBuilder {
    Mock::given(method("POST")).and(path(format!("/{TENANT}/oauth2/v2.0/token")))
}

pub(crate) fn tokens(access_token: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "token_type": "Bearer", "scope": "granted", "expires_in": 4_210, "ext_expires_in": 4_210,
        "access_token": access_token, "refresh_token": "1.AXo", "id_token": "e30.e30.x",
    }))
}

pub(crate) fn refused(status: u16, error: &str, code: u32) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "error": error,
        "error_description": format!("AADSTS{code}: Refused.\r\nTrace ID: 1f0c\r\nCorrelation ID: 7b2a"),
        "error_codes": [code], "trace_id": "1f0c", "correlation_id": "7b2a",
    }))
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text)
}
