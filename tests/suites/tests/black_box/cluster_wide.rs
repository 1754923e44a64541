//! An operator that serves every namespace (`clusterWide`), under the admission policies of that mode.

use std::time::Duration;

use behalf_demo::environment::{
    Conditions, NAMESPACE_OPERATOR, Objects, Server, create_federated_credential, wait_available, wait_in,
};
use behalf_demo::forward::Forward;
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn, call_with_token};
use behalf_runtime::error_chain;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_tests::limits::restoring;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::ensure;
use crate::own_release::OwnRelease;
use crate::releases::pods;
use crate::scratch_server::{children, forget_credentials, forwarding, leaves_nothing};
use crate::world::{TestResult, World};

crate::tests![WholeCluster: [
    a_cluster_wide_operator_serves_a_namespace_that_came_after_it_and_its_removal_ends_no_pod,
]];

/// The namespace of the installation.
const RELEASE: &str = "cluster-wide";

/// A namespace that is created after the installation.
const NAMESPACE: &str = "cluster-wide-later";

/// An object that is used, and one that is deleted while the operator runs. The second port has no use.
const KEPT: (&str, u16) = ("kept", 8593);
const DELETED: (&str, u16) = ("deleted", 8594);

/// Maximum time until an object has wanted conditions, and until an operator is available.
const LIMIT: Duration = Duration::from_mins(2);

async fn a_cluster_wide_operator_serves_a_namespace_that_came_after_it_and_its_removal_ends_no_pod(
    world: &World,
) -> TestResult {
    let operator = |arguments: &[&str]| {
        let namespaced = ["--namespace", NAMESPACE_OPERATOR];
        let cluster = &world.running.cluster;
        cluster.kubectl(&[&namespaced[..], arguments].concat())
    };
    let deployment = "deployment/behalf-operator";
    let replicas = operator(&["get", deployment, "--output", "jsonpath={.spec.replicas}"])?;
    let restore = async {
        let later = [
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait=true",
        ];
        let deleted = world.running.cluster.kubectl(&later);
        let subjects = format!("system:serviceaccount:{NAMESPACE}:");
        forget_credentials(world, &subjects, &[KEPT.1, DELETED.1]).await?;
        operator(&["scale", deployment, &format!("--replicas={replicas}")])?;
        wait_available(
            &world.running.client,
            NAMESPACE_OPERATOR,
            "behalf-operator",
            LIMIT,
        )
        .await?;
        for server in Server::ALL {
            world.wait_settled(server).await?;
        }
        deleted?;
        Ok(())
    };
    let work = async {
        // Each of two operators would write the status of the suite's objects.
        operator(&["scale", deployment, "--replicas=0"])?;
        operator(&["wait", "--for=delete", "pods", "--all", "--timeout=60s"])?;
        installed_and_removed(world).await
    };
    restoring(work, restore).await
}

async fn installed_and_removed(world: &World) -> TestResult {
    let of_suite = pods(world)?;
    let release = OwnRelease::install(world, RELEASE, &json!({"clusterWide": true})).await?;
    let mut objects = Objects::default();
    objects
        .add_namespace(NAMESPACE)
        .add(certificate_authority(world, NAMESPACE)?)
        .add(object(world, KEPT)?)
        .add(object(world, DELETED)?);
    objects.apply(&world.running.client).await?;
    for (name, _) in [KEPT, DELETED] {
        let asks = |now: &Conditions| now.status.pointer("/federation/redirectUri").is_some();
        let conditions = wait(world, name, "status.federation", asks).await?;
        create_federated_credential(&world.entra, name, &conditions).await?;
    }
    for (name, _) in [KEPT, DELETED] {
        wait(world, name, "Ready", is_ready).await?;
    }
    let (name, port) = KEPT;
    let to_kept = Forward {
        local: port,
        namespace: NAMESPACE.to_owned(),
        service: name.to_owned(),
        port: 8080,
    };
    let used = async {
        let token = sign_in(world, port).await?;
        // Users' sessions are in the memory of the Pod, so the edit comes before the sign-in that matters.
        calls(port, &token).await?;
        edit(world, name).await?;
        world.running.cluster.kubectl(&[
            "delete",
            "mcpserver",
            DELETED.0,
            "--namespace",
            NAMESPACE,
            "--wait=true",
        ])?;
        leaves_nothing(world, NAMESPACE, DELETED.0).await?;
        may_not_write_for_nobody(world)?;
        takes_over_without_a_restart(world, &of_suite).await?;
        was_refused_nothing(world)?;

        let token = sign_in(world, port).await?;
        let before = (children(world, NAMESPACE, name)?, pods(world)?);
        release.uninstall()?;
        ensure!(
            remains_of_the_release(world)?.is_empty(),
            "the removal leaves {}",
            remains_of_the_release(world)?
        );
        // The garbage collector needs some seconds.
        tokio::time::sleep(Duration::from_secs(15)).await;
        calls(port, &token).await?;
        let after = (children(world, NAMESPACE, name)?, pods(world)?);
        ensure!(after == before, "{before:?} became {after:?} without an operator");
        Ok(())
    };
    forwarding(world, to_kept, used).await
}

/// The `ConfigMap` that the suite's objects name, for another namespace.
pub(crate) fn certificate_authority(world: &World, namespace: &str) -> TestResult<Value> {
    let spec = world.get("mcpserver", Server::Quickstart.name())?;
    let name = spec.pointer("/spec/entra/certificateAuthorityRef/name");
    let name = name
        .and_then(Value::as_str)
        .ok_or("quickstart names no authority")?;
    let data = &world.get("configmap", name)?["data"];
    Ok(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace}, "data": data,
    }))
}

/// An object like quickstart.
fn object(world: &World, (name, port): (&str, u16)) -> TestResult<Value> {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    let mut spec = quickstart["spec"].clone();
    spec["publicUrl"] = json!(format!("http://localhost:{port}"));
    Ok(json!({
        "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    }))
}

fn is_ready(now: &Conditions) -> bool {
    ["Accepted", "Available", "Verified", "Ready"]
        .iter()
        .all(|kind| now.is(kind, "True"))
}

async fn wait(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&Conditions) -> bool,
) -> TestResult<Conditions> {
    let seen = |conditions: &Conditions| println!("    {NAMESPACE}/{name}: {}", conditions.summary());
    let client = &world.running.client;
    Ok(wait_in(client, NAMESPACE, name, what, LIMIT, seen, wanted).await?)
}

/// Signs Ana in, and returns her token.
async fn sign_in(world: &World, port: u16) -> TestResult<String> {
    let pending = PendingSignIn::begin(&mcp(port)?).await?;
    let visit = Visit::new(pending.authorize_url().clone(), ANA.user_name).client_name(CLIENT_NAME);
    let back = Browser::new()?.sign_in(&visit).await?;
    let signed_in = pending.finish(&back.redirect).await?;
    world.remember_unrecorded(&signed_in).await?;
    let token = signed_in.manager().lock().await.get_access_token().await?;
    Ok(token)
}

fn mcp(port: u16) -> TestResult<Url> {
    Ok(Url::parse(&format!("http://localhost:{port}/mcp"))?)
}

async fn calls(port: u16, token: &str) -> TestResult {
    let status = call_with_token(&mcp(port)?, token).await?.status();
    ensure!(status == StatusCode::OK, "a call was answered {status}");
    Ok(())
}

/// Changes the configuration, and leaves out the network policy: a `ConfigMap` is written and the network policy is deleted.
async fn edit(world: &World, name: &str) -> TestResult {
    let change = r#"{"spec": {"network": {"policy": "Open"}, "sessions": {"refreshGrace": "61s"}}}"#;
    let patch = ["patch", "mcpserver", name, "--type=merge", "--patch", change];
    let cluster = &world.running.cluster;
    cluster.kubectl(&[&patch[..], &["--namespace", NAMESPACE]].concat())?;
    wait(world, name, "Ready with the edit", is_ready).await?;
    let limit = Instant::now() + LIMIT;
    loop {
        let left = children(world, NAMESPACE, name)?;
        if left.matches("configmap/").count() == 2 && !left.contains("networkpolicy") {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "after the edit there are {left}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The policies of the installed chart are in force: its account may write no Deployment that no `McpServer` controls.
fn may_not_write_for_nobody(world: &World) -> TestResult {
    let bare = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bare"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
    }});
    let account = format!("system:serviceaccount:{RELEASE}:behalf-operator");
    let create = ["create", "--dry-run=server", "--filename", "-"];
    let who = ["--namespace", NAMESPACE, "--as", &account];
    let cluster = &world.running.cluster;
    match cluster.kubectl_with(&[&create[..], &who].concat(), &bare.to_string()) {
        Ok(_) => Err("the operator may write a Deployment that no McpServer controls".into()),
        Err(error) => {
            let error = error_chain(&error);
            let policy = format!("ValidatingAdmissionPolicy '{RELEASE}-behalf-operator");
            ensure!(error.contains(&policy), "refused with other words: {error}");
            Ok(())
        }
    }
}

/// The new operator serves the objects that the suite's own one made, whose Pods go on.
async fn takes_over_without_a_restart(world: &World, before: &str) -> TestResult {
    for server in Server::ALL {
        world.wait_settled(server).await?;
        // It lets its own Pods in.
        let admitted = world.get("networkpolicy", server.name())?.to_string();
        ensure!(
            admitted.contains(&format!(r#""kubernetes.io/metadata.name":"{RELEASE}""#)),
            "the new operator does not serve {}: {admitted}",
            server.name()
        );
    }
    let after = pods(world)?;
    ensure!(
        after == before,
        "the new operator replaced Pods:\n{before}became\n{after}"
    );
    Ok(())
}

/// The operator lacked no right, and no policy refused what it wrote.
fn was_refused_nothing(world: &World) -> TestResult {
    let logs = [
        "logs",
        "deployment/behalf-operator",
        "--namespace",
        RELEASE,
        "--tail=-1",
    ];
    let log = world.running.cluster.kubectl(&logs)?;
    ensure!(
        log.contains("Operator is running"),
        "the log has no beginning: {log}"
    );
    let is_refusal = |line: &&str| {
        let line = line.to_lowercase();
        ["forbidden", "cannot ", "denied"]
            .iter()
            .any(|word| line.contains(word))
    };
    let refused: Vec<&str> = log.lines().filter(is_refusal).collect();
    ensure!(
        refused.is_empty(),
        "the operator was refused: {}",
        refused.join("\n")
    );
    Ok(())
}

/// The objects outside of namespaces that belong to the release.
fn remains_of_the_release(world: &World) -> TestResult<String> {
    let kinds =
        "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let text = world
        .running
        .cluster
        .kubectl(&["get", kinds, "--output", "name"])?;
    let of_release = text.lines().filter(|name| name.contains(&format!("/{RELEASE}-")));
    Ok(of_release.collect::<Vec<_>>().join(", "))
}
