//! As in a Pod: TLS under a private authority, a plain port for the browser, an issuer that asks for a
//! bearer token.

use std::net::SocketAddr;

use axum::extract::State;
use axum::routing::get;
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::entra::{
    Directory, EntraSimulator, EntraSimulatorOptions, FederatedCredential, IssuerAccess, IssuerFixture,
    ServiceAccountToken,
};
use behalf_simulators::listener::Listener;
use behalf_simulators::people::{CLIENT_ID, TENANT_ID};
use url::Url;

use crate::stage::{ASSERTION_TYPE, azure_devops_scope};

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn serves_tls_and_leads_the_browser_to_the_plain_port() {
    let authority = CertificateAuthority::generate("test authority").unwrap();
    let listener = Listener::bind(any(), None).await.unwrap();
    let port = listener.address().port();
    drop(listener);
    let browser_base = Url::parse(&format!("http://localhost:{port}")).unwrap();
    let simulator = EntraSimulator::start(EntraSimulatorOptions {
        tls: Some(authority.issue(&["entra.simulators.svc", "127.0.0.1"]).unwrap()),
        browser_listen: Some(SocketAddr::from(([127, 0, 0, 1], port))),
        browser_base: Some(browser_base.clone()),
        ..EntraSimulatorOptions::default()
    })
    .await
    .unwrap();
    assert_eq!(simulator.authority().scheme(), "https");
    let root = reqwest::Certificate::from_pem(authority.certificate_pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let path = format!("{TENANT_ID}/v2.0/.well-known/openid-configuration");
    let document: serde_json::Value = http
        .get(simulator.authority().join(&path).unwrap())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let authorize = document["authorization_endpoint"].as_str().unwrap();
    assert_eq!(
        authorize,
        format!("{browser_base}{TENANT_ID}/oauth2/v2.0/authorize")
    );
    assert!(
        document["token_endpoint"]
            .as_str()
            .unwrap()
            .starts_with("https://")
    );
    let page = http.get(authorize).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("AADSTS900144"));
    let token = http.post(
        browser_base
            .join(&format!("{TENANT_ID}/oauth2/v2.0/token"))
            .unwrap(),
    );
    assert_eq!(
        token.send().await.unwrap().status(),
        404,
        "the browser's port has pages only"
    );
    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(
        stranger.get(simulator.authority()).send().await.is_err(),
        "nobody else trusts it"
    );
}

/// An API server's issuer: discovery and keys for a client that shows the token, keys at another address.
struct ApiServer {
    name: String,
    keys: String,
    expected: String,
}

type Shared = State<std::sync::Arc<ApiServer>>;

async fn discovery(State(server): Shared, headers: http::HeaderMap) -> Result<String, http::StatusCode> {
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&server.expected) {
        return Err(http::StatusCode::UNAUTHORIZED);
    }
    Ok(serde_json::json!({"issuer": server.name, "jwks_uri": server.keys}).to_string())
}

#[tokio::test]
async fn reads_a_clusters_issuer_with_its_authority_and_token() {
    let fixture = IssuerFixture::start().await.unwrap();
    let authority = CertificateAuthority::generate("cluster authority").unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    let listener = Listener::bind(any(), Some(&identity)).await.unwrap();
    let base = Url::parse(&listener.base_url()).unwrap();
    let name = "https://kubernetes.default.svc.cluster.local";
    let server = ApiServer {
        name: name.to_owned(),
        keys: format!("{}/openid/v1/jwks", fixture.issuer()),
        expected: "Bearer pod-token".to_owned(),
    };
    let router = axum::Router::new().route("/.well-known/openid-configuration", get(discovery));
    let _serving = listener.serve(router.with_state(std::sync::Arc::new(server)));

    let folder = tempfile::tempdir().unwrap();
    let (ca, token) = (folder.path().join("ca.crt"), folder.path().join("token"));
    std::fs::write(&ca, authority.certificate_pem()).unwrap();
    std::fs::write(&token, "wrong-token\n").unwrap();
    let mut directory = Directory::contoso();
    directory.issuers.push(IssuerAccess {
        issuer: name.to_owned(),
        base: Some(base),
        certificate_authority_file: Some(ca),
        bearer_token_file: Some(token.clone()),
    });
    let application = directory.application_mut(CLIENT_ID).unwrap();
    application
        .federated_credentials
        .push(FederatedCredential::new(name, IssuerFixture::SUBJECT));
    let options = EntraSimulatorOptions {
        directory,
        ..EntraSimulatorOptions::default()
    };
    let simulator = EntraSimulator::start(options).await.unwrap();

    let wanted = ServiceAccountToken::of(IssuerFixture::SUBJECT).issuer(name);
    let assertion = fixture.mint(&wanted).unwrap();
    let scope = azure_devops_scope();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT_ID),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
        ("scope", &scope),
    ];
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let endpoint = simulator
        .authority()
        .join(&format!("{TENANT_ID}/oauth2/v2.0/token"))
        .unwrap();
    let send = async || {
        let answer = http.post(endpoint.clone()).form(&form).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()
    };
    assert_eq!(send().await["error_codes"][0], 90_061);
    std::fs::write(&token, "pod-token\n").unwrap();
    assert!(send().await["access_token"].is_string());
}
