//! The object `scratch` in the servers' namespace: a test creates it, uses it through a loopback port and removes it.

use std::time::Duration;

use behalf_demo::environment::{
    Conditions, NAMESPACE_SERVERS, Server, create_federated_credential, wait_for,
};
use behalf_demo::forward::{self, Forward, Way};
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn, SignedIn};
use behalf_local_cluster::cluster::Kind;
use behalf_simulators::people::{CLIENT_ID, Person};
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_tests::limits::{LIMIT, restoring_within};
use futures::future::{Either, select};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::ensure;
use crate::world::{TestResult, World};

/// The name of the object and of its children.
pub(crate) const NAME: &str = "scratch";

/// The port of `publicUrl` on this machine.
pub(crate) const PORT: u16 = 8596;

/// Maximum time until the object is Ready: servers on Node and Python start slowly beside other tests.
const START: Duration = Duration::from_mins(2);

/// An object with this public origin, with Entra of the quickstart, and with these fields of its spec.
pub(crate) fn object(world: &World, public_url: &str, fields: &Value) -> TestResult<Value> {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    let mut object = json!({
        "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
        "metadata": {"name": NAME},
        // The search of all logs needs the quickstart's log level.
        "spec": {"publicUrl": public_url, "entra": quickstart["spec"]["entra"], "sidecar": quickstart["spec"]["sidecar"]},
    });
    for (key, value) in fields.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    Ok(object)
}

/// The field `sessions` of the server article, with the user that Redis has for this object.
pub(crate) fn sessions_in_redis(world: &World) -> TestResult<Value> {
    let article = world.get("mcpserver", Server::Article.name())?;
    let mut sessions = article["spec"]["sessions"].clone();
    let secret = sessions.pointer_mut("/store/redis/auth/secret/secretRef/name");
    *secret.ok_or("the server article names no Secret of its store")? = json!(format!("{NAME}-behalf-store"));
    Ok(sessions)
}

/// The MCP endpoint of an object whose public origin is the loopback port.
pub(crate) fn mcp_url() -> TestResult<Url> {
    Ok(Url::parse(&format!("http://localhost:{PORT}/mcp"))?)
}

/// Signs a person in there.
pub(crate) async fn sign_in(world: &World, person: &Person) -> TestResult<SignedIn> {
    let pending = PendingSignIn::begin(&mcp_url()?).await?;
    let visit = Visit::new(pending.authorize_url().clone(), person.user_name).client_name(CLIENT_NAME);
    let back = Browser::new()?.sign_in(&visit).await?;
    let signed_in = pending.finish(&back.redirect).await?;
    world.remember_unrecorded(&signed_in).await?;
    Ok(signed_in)
}

/// Where the loopback port leads.
pub(crate) fn to_service(service: &str, port: u16) -> Forward {
    Forward {
        local: PORT,
        namespace: NAMESPACE_SERVERS.to_owned(),
        service: service.to_owned(),
        port,
    }
}

/// Runs `work` while the object is Ready and the loopback port leads to it, and removes the object afterwards.
pub(crate) async fn serving(
    world: &World,
    object: &Value,
    work: impl AsyncFnOnce() -> TestResult,
) -> TestResult {
    serving_through(world, object, to_service(NAME, 8080), LIMIT, work).await
}

/// As [`serving`], with another way to the object and a limit of its own for the work.
pub(crate) async fn serving_through(
    world: &World,
    object: &Value,
    forward: Forward,
    limit: Duration,
    work: impl AsyncFnOnce() -> TestResult,
) -> TestResult {
    world.apply(object)?;
    let tested = async {
        let told = |now: &Conditions| now.status.pointer("/federation/redirectUri").is_some();
        let accepted = wait(world, "status.federation", told).await?;
        create_federated_credential(&world.entra, NAME, &accepted).await?;
        let ready = wait(world, "Ready", |now| now.is("Ready", "True")).await?;
        ensure!(
            ready.is("Verified", "True") && ready.is("FederationVerified", "True"),
            "Ready, but {}",
            ready.summary()
        );
        work().await
    };
    restoring_within(limit, forwarding(world, forward, tested), remove(world)).await
}

/// Runs `work` while a loopback port leads to a Service.
pub(crate) async fn forwarding(
    world: &World,
    forward: Forward,
    work: impl Future<Output = TestResult>,
) -> TestResult {
    // As in the environment: this machine has a route to the Pods of a local cluster.
    let way = match world.running.cluster.kind() {
        Kind::Local => Way::Direct,
        Kind::Kind | Kind::Current => Way::PortForward,
    };
    let forwarded = forward::serve(world.running.client.clone(), way, vec![forward], None);
    // The first one is polled first, and listens before the work begins.
    match select(Box::pin(forwarded), Box::pin(work)).await {
        Either::Left((ended, _)) => Err(format!("the forwarding ended: {ended:?}").into()),
        Either::Right((worked, _)) => worked,
    }
}

/// Waits for conditions of the object.
pub(crate) async fn wait(
    world: &World,
    what: &str,
    wanted: impl Fn(&Conditions) -> bool,
) -> TestResult<Conditions> {
    let seen = |conditions: &Conditions| println!("    {NAME}: {}", conditions.summary());
    Ok(wait_for(&world.running.client, NAME, what, START, seen, wanted).await?)
}

/// The kinds of the operator's children, and of what their controllers make.
const KINDS: &str = "serviceaccounts,secrets,configmaps,networkpolicies,poddisruptionbudgets,services,deployments,replicasets,pods";

/// Maximum time until the garbage collector has deleted everything. A Pod may take a minute to stop.
const COLLECTED: Duration = Duration::from_secs(100);

/// Everything that the operator and the controllers made for an object, by kind and name.
pub(crate) fn children(world: &World, namespace: &str, name: &str) -> TestResult<String> {
    let label = format!("behalf.dev/mcp-server={name}");
    let get = ["get", KINDS, "--selector", &label, "--output", "name"];
    let cluster = &world.running.cluster;
    Ok(cluster.kubectl(&[&get[..], &["--namespace", namespace]].concat())?)
}

/// Waits until nothing is left of an object that was deleted.
pub(crate) async fn leaves_nothing(world: &World, namespace: &str, name: &str) -> TestResult {
    let limit = Instant::now() + COLLECTED;
    loop {
        let left = children(world, namespace, name)?;
        if left.trim().is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "the deleted object {name} leaves {left}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Deletes the object, waits until nothing of it is left, and forgets it at Entra.
pub(crate) async fn remove(world: &World) -> TestResult {
    world.kubectl(&["delete", "mcpserver", NAME, "--ignore-not-found", "--wait=true"])?;
    leaves_nothing(world, NAMESPACE_SERVERS, NAME).await?;
    let subject = format!("system:serviceaccount:{NAMESPACE_SERVERS}:{NAME}");
    forget_credentials(world, &subject, &[PORT]).await
}

/// Removes the federated credentials whose subjects begin so, and the redirect URIs with these ports, from the application.
pub(crate) async fn forget_credentials(world: &World, subjects: &str, ports: &[u16]) -> TestResult {
    world
        .entra
        .update_application(CLIENT_ID, |application| {
            application
                .federated_credentials
                .retain(|credential| !credential.subject.starts_with(subjects));
            application
                .redirect_uris
                .retain(|uri| !ports.iter().any(|port| uri.contains(&port.to_string())));
        })
        .await?;
    Ok(())
}
