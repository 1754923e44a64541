//! Tests how often the sidecar asks Entra for downstream tokens.

use std::sync::atomic::{AtomicUsize, Ordering};

use behalf_contract::{ExchangePlace, Injection, TokenExchange};
use behalf_entra::{
    AZURE_DEVOPS_SCOPE, EntraClient, FederatedTokenFile, HttpLimits, Proxies, Settings, SystemClock,
    TrustRoots,
};
use futures::StreamExt as _;
use serde_json::json;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;

const TENANT: &str = "0b4f3a51-6a2c-4c0e-9d3b-2f4e5a6b7c8d";
const CLIENT: &str = "7d0c2f1e-1111-4222-8333-944445555666";

/// `{"alg":"none"}` and the claims of a `ServiceAccount` token: nobody here checks it.
const ASSERTION: &str = "eyJhbGciOiJub25lIn0.\
    eyJpc3MiOiJodHRwczovL29uZS5leGFtcGxlLyIsInN1YiI6InMiLCJhdWQiOlsiYSJdfQ.c2ln";

/// Answers every exchange with a token as long as a real one, and counts the exchanges.
#[derive(Clone, Default)]
struct Exchanges(Arc<AtomicUsize>);

impl Respond for Exchanges {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        self.0.fetch_add(1, Ordering::Relaxed);
        ResponseTemplate::new(200).set_body_json(json!({
            "token_type": "Bearer", "expires_in": 3600, "access_token": "t".repeat(3 * 1024),
        }))
    }
}

async fn exchange(exchanges: Exchanges) -> (Exchange, MockServer, tempfile::NamedTempFile) {
    // Idempotent: the first test of the process installs the provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = MockServer::builder().disable_request_recording().start().await;
    let base = format!("{}/{TENANT}", server.uri());
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "jwks_uri": format!("{base}/keys"),
        })))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(exchanges)
        .mount(&server)
        .await;
    let assertion = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(assertion.path(), ASSERTION).unwrap();
    let entra = EntraClient::new(
        Settings::new(&server.uri().parse().unwrap(), TENANT, CLIENT).unwrap(),
        FederatedTokenFile::new(assertion.path().to_owned()),
        TrustRoots::system()
            .http_client(HttpLimits::default(), Proxies::None)
            .unwrap(),
        Arc::new(SystemClock),
    );
    let rules = TokenExchange {
        at: ExchangePlace::Sidecar,
        scope: Some(AZURE_DEVOPS_SCOPE.to_owned()),
        injection: Injection::Header,
    };
    (Exchange::new(&rules, entra).unwrap(), server, assertion)
}

#[tokio::test]
async fn ten_thousand_active_sessions_exchange_once_each() {
    const SESSIONS: usize = 10_000;
    let exchanges = Exchanges::default();
    let (exchange, _server, _assertion) = exchange(exchanges.clone()).await;
    for _ in 0..3 {
        futures::stream::iter(0..SESSIONS)
            .for_each_concurrent(32, |session| {
                let exchange = &exchange;
                async move {
                    let user_token = Secret::new(format!("user token of session {session}"));
                    exchange.on_behalf_of.get(&user_token, None).await.unwrap();
                }
            })
            .await;
        assert_eq!(exchanges.0.load(Ordering::Relaxed), SESSIONS);
    }
}
