//! Three replicas on Redis behind nginx with TLS and HTTP/2: what users of an ingress controller see.

mod clients;
mod endurance;
mod faults;
mod logins;
mod nginx;
mod redis_pair;
mod sessions;
mod tally;

use std::time::Duration;

use behalf_demo::environment::Server;
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn, SignedIn, call_with, http_client};
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::people::Person;
use behalf_simulators::sign_in::{Browser, Visit};
use reqwest::{StatusCode, Version};
use serde_json::{Value, json};
use url::Url;

pub(crate) use self::endurance::duration;
use crate::ensure;
use crate::scratch_server::{self, PORT, serving_through, to_service};
use crate::world::{TestResult, World};

/// The tests of this folder.
pub(crate) fn tests() -> Vec<crate::Test> {
    [clients::tests(), logins::tests(), endurance::tests()].concat()
}

/// Number of replicas behind the gateway.
const REPLICAS: usize = 3;

/// The object `scratch` behind nginx.
struct Gateway<'w> {
    world: &'w World,
    authority: String,
    mcp: Url,
}

/// Runs `work` while three replicas with this field `sessions` serve behind the gateway, and removes them afterwards.
async fn behind_a_gateway(
    world: &World,
    sessions: Value,
    limit: Duration,
    work: impl AsyncFnOnce(&Gateway<'_>) -> TestResult,
) -> TestResult {
    let article = world.get("mcpserver", Server::Article.name())?;
    let spec = &article["spec"];
    let origin = format!("https://localhost:{PORT}");
    let fields = json!({
        "replicas": REPLICAS, "sessions": sessions,
        "server": spec["server"], "tokenExchange": spec["tokenExchange"], "sidecar": spec["sidecar"],
        // The Pods of a local cluster, and those of a kind cluster.
        "trustedProxies": ["10.99.0.0/16", "10.244.0.0/16"],
        // One Pod on each node. A node that is drained does not count, or nothing could replace its Pod.
        "pod": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
        }]},
    });
    let object = scratch_server::object(world, &origin, &fields)?;
    let authority = CertificateAuthority::generate("Gateway")?;
    let nginx_image = nginx::image(world)?;
    let gateway = Gateway {
        world,
        authority: authority.certificate_pem().to_owned(),
        mcp: Url::parse(&format!("{origin}/mcp"))?,
    };
    let worked = serving_through(
        world,
        &object,
        to_service(nginx::NAME, nginx::PORT),
        limit,
        async || {
            nginx::start(world, &nginx_image, &authority).await?;
            work(&gateway).await
        },
    )
    .await;
    let removed = nginx::remove(world);
    worked.and(removed)
}

impl Gateway<'_> {
    /// An HTTP client that trusts the gateway's certificate. It has connections of its own.
    fn http(&self) -> TestResult<reqwest::Client> {
        Ok(http_client(Some(&self.authority))?)
    }

    async fn sign_in(&self, person: &Person) -> TestResult<SignedIn> {
        let pending = PendingSignIn::begin_with(&self.mcp, self.http()?).await?;
        let visit = Visit::new(pending.authorize_url().clone(), person.user_name).client_name(CLIENT_NAME);
        let back = Browser::trusting(&[&self.authority])?.sign_in(&visit).await?;
        let signed_in = pending.finish(&back.redirect).await?;
        self.world.remember_unrecorded(&signed_in).await?;
        Ok(signed_in)
    }

    /// Fails if an answer 503 to any client, also to a refresh, had no `Retry-After`.
    async fn every_503_says_when_to_try_again(&self) -> TestResult {
        let log = self.http()?.get(self.mcp.join("/without-retry-after")?);
        let log = log.send().await?.error_for_status()?.text().await?;
        ensure!(log.is_empty(), "503 without Retry-After: {log:.300}");
        Ok(())
    }

    async fn call(&self, http: &reqwest::Client, token: &str) -> TestResult<reqwest::Response> {
        Ok(call_with(http, &self.mcp, token).await?)
    }

    /// Calls, and fails unless the answer is the result of the tool over HTTP/2.
    async fn call_succeeds(&self, http: &reqwest::Client, token: &str) -> TestResult {
        let answer = self.call(http, token).await?;
        let (status, version) = (answer.status(), answer.version());
        let body = answer.text().await?;
        ensure!(
            status == StatusCode::OK && version == Version::HTTP_2 && is_result(&body),
            "{status} over {version:?}: {body:.300}"
        );
        Ok(())
    }
}

/// True if the body of an answer is a result of the tool that is no error. An answer 200 alone also has errors.
fn is_result(body: &str) -> bool {
    body.contains(r#""isError":false"#)
}

/// The access token that a client holds now.
async fn access_token(signed_in: &SignedIn) -> TestResult<String> {
    Ok(signed_in.manager().lock().await.get_access_token().await?)
}
