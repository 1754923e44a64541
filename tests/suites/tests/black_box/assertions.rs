//! Assertions that are not the Pod's, sent to the simulator on the cluster, which verifies each against the
//! API server's own discovery document and keys.

use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_SERVERS, NAMESPACE_SIMULATORS, Server};
use behalf_demo::forward::{self, Forward, Way};
use behalf_simulators::entra::{FEDERATED_AUDIENCE, IssuerFixture, ServiceAccountToken, forge};
use behalf_simulators::people::{AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID, TENANT_ID};
use behalf_tests::limits::restoring;
use serde_json::Value;

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    a_token_of_the_service_account_is_accepted_and_every_deviation_has_its_own_code,
    an_expired_token_has_its_own_code,
];

/// Entra's host on the cluster.
const HOST: &str = "entra.behalf-simulators.svc";

/// The token endpoint as the Pods use it: over TLS, trusting the same certificates.
struct TokenEndpoint {
    client: reqwest::Client,
    url: String,
    _forwarding: tokio::task::JoinSet<()>,
}

/// The endpoint's answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    error: String,
    codes: Vec<u64>,
}

impl TokenEndpoint {
    async fn reach(world: &World) -> TestResult<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let to = Forward {
            local: port,
            namespace: NAMESPACE_SIMULATORS.to_owned(),
            service: "entra".to_owned(),
            port: 8443,
        };
        let (kube, mut forwarding) = (world.running.client.clone(), tokio::task::JoinSet::new());
        forwarding.spawn(async move {
            if let Err(error) = forward::serve(kube, Way::PortForward, vec![to], None).await {
                tracing::error!("{error}");
            }
        });
        let reference = [
            "get",
            "mcpserver",
            Server::Quickstart.name(),
            "--output",
            "jsonpath={.spec.entra.certificateAuthorityRef.name}",
        ];
        let map = world.get("configmap", world.kubectl(&reference)?.trim())?;
        let bundle = map
            .get("data")
            .and_then(Value::as_object)
            .and_then(|data| data.values().next()?.as_str())
            .ok_or("the certificate authority's ConfigMap is empty")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(bundle.as_bytes())?])
            .resolve(HOST, ([127, 0, 0, 1], port).into())
            .timeout(Duration::from_secs(30))
            .build()?;
        let endpoint = Self {
            client,
            url: format!("https://{HOST}:{port}/{TENANT_ID}/oauth2/v2.0/token"),
            _forwarding: forwarding,
        };
        for _ in 0..50 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(endpoint);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the token endpoint is not forwarded".into())
    }

    /// The sidecar's own probe, with this assertion.
    async fn present(&self, assertion: &str) -> TestResult<Answer> {
        let scope = format!("{AZURE_DEVOPS_APPLICATION_ID}/.default");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT_ID),
            ("scope", scope.as_str()),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
        ];
        let response = self.client.post(&self.url).form(&form).send().await?;
        let status = response.status().as_u16();
        let body: Value = response.json().await?;
        let codes = body["error_codes"].as_array().into_iter().flatten();
        Ok(Answer {
            status,
            error: body["error"].as_str().unwrap_or_default().to_owned(),
            codes: codes.filter_map(Value::as_u64).collect(),
        })
    }
}

/// A token from the API server: `kubectl create token`.
fn token(world: &World, service_account: &str, audience: &str) -> TestResult<String> {
    let token = world.kubectl(&["create", "token", service_account, "--audience", audience])?;
    Ok(token.trim().to_owned())
}

async fn a_token_of_the_service_account_is_accepted_and_every_deviation_has_its_own_code(
    world: &World,
) -> TestResult {
    world.wait_ready(Server::Quickstart).await?;
    let entra = TokenEndpoint::reach(world).await?;
    let own = Server::Quickstart.name();
    let right = token(world, own, FEDERATED_AUDIENCE)?;
    let accepted = entra.present(&right).await?;
    ensure!(
        accepted.status == 200,
        "the right token was refused: {accepted:?}"
    );

    let elsewhere = IssuerFixture::start().await?;
    let subject = format!("system:serviceaccount:{NAMESPACE_SERVERS}:{own}");
    let of_another_cluster = elsewhere.mint(&ServiceAccountToken::of(&subject))?;
    let table = [
        ("signed by another key", forge(&right)?, 700_027),
        ("of another issuer", of_another_cluster, 700_211),
        (
            "for another audience",
            token(world, own, "https://kubernetes.default.svc")?,
            700_212,
        ),
        (
            "of another ServiceAccount",
            token(world, "default", FEDERATED_AUDIENCE)?,
            700_213,
        ),
    ];
    for (what, assertion, code) in table {
        let answer = entra.present(&assertion).await?;
        ensure!(
            answer.status == 401 && answer.error == "invalid_client" && answer.codes == [code],
            "a token {what} got {answer:?}, not {code}"
        );
    }
    Ok(())
}

async fn an_expired_token_has_its_own_code(world: &World) -> TestResult {
    let entra = TokenEndpoint::reach(world).await?;
    let right = token(world, Server::Quickstart.name(), FEDERATED_AUDIENCE)?;
    // The API server issues no expired tokens, so the simulator's clock moves on by two hours.
    let work = async {
        world.entra.set_clock_offset(2 * 3600).await?;
        entra.present(&right).await
    };
    let restore = async { Ok(world.entra.set_clock_offset(0).await?) };
    let late = restoring(work, restore).await?;
    ensure!(
        late.status == 401 && late.error == "invalid_client" && late.codes == [700_024],
        "an expired token got {late:?}"
    );
    let again = entra.present(&right).await?;
    ensure!(
        again.status == 200,
        "the same token in time was refused: {again:?}"
    );
    Ok(())
}
