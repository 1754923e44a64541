//! The API server hangs, and then it restarts, while two operators run. The calls of users go on without it; this suite reaches the
//! Pods through it, so that no test shows that here.

use std::time::Duration;

use behalf_demo::environment::{Conditions, NAMESPACE_OPERATOR, Server, wait_available};
use behalf_local_cluster::cluster::Kind;
use behalf_tests::limits::restoring;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::faults::replaced_keyrings;
use crate::world::{TestResult, World};

crate::tests![
    // Each other test needs the API server.
    WholeCluster: [both_operators_outlive_an_api_server_that_hangs_and_restarts],
];

const API_SERVER: &str = "kube-apiserver";

/// An operator that cannot renew its Lease for eight seconds ends. The node controller calls a node lost after 50.
const HANGS: Duration = Duration::from_secs(20);

/// Maximum time from the return of the API server until an edit is served.
const SERVED: Duration = Duration::from_secs(20);

/// Maximum time until the API server answers again.
const RETURN: Duration = Duration::from_mins(1);

/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(250);

async fn both_operators_outlive_an_api_server_that_hangs_and_restarts(world: &World) -> TestResult {
    let cluster = &world.running.cluster;
    if cluster.kind() != Kind::Local {
        println!("    SKIPPED: only the components of a local cluster can be paused");
        return Ok(());
    }
    let mut before = Vec::new();
    for server in Server::ALL {
        before.push((
            server,
            world.wait_settled(server).await?,
            replaced_keyrings(world, server.name())?,
        ));
    }
    let operators = operators(world)?;
    ensure!(operators.len() == 2, "the operators are {operators:?}");

    let work = async {
        cluster.pause(API_SERVER)?;
        sleep(HANGS).await;
        cluster.resume(API_SERVER)?;
        edit_is_served(world, "after the pause").await?;
        cluster.restart(API_SERVER)?;
        edit_is_served(world, "after the restart").await?;
        wait_available(
            &world.running.client,
            NAMESPACE_OPERATOR,
            "behalf-operator",
            RETURN,
        )
        .await?;
        Ok(())
    };
    // Nothing happens if it already goes on.
    let resume = async { cluster.resume(API_SERVER).map_err(Into::into) };
    restoring(work, resume).await?;

    let now = operators_when_one_leads(world).await?;
    ensure!(
        now == operators,
        "the operators were {operators:?} and are {now:?}"
    );
    for (server, was, keyrings) in before {
        let is = world.wait_ready(server).await?;
        ensure!(
            transition(&is) == transition(&was),
            "{} was not Ready for a while: {}",
            server.name(),
            is.summary()
        );
        let after = replaced_keyrings(world, server.name())?;
        ensure!(
            after == keyrings,
            "{}: {after} keyrings were replaced, before {keyrings}",
            server.name()
        );
    }
    Ok(())
}

/// Edits an object as soon as the API server answers, and waits until the operator has served the edit.
async fn edit_is_served(world: &World, when: &str) -> TestResult {
    let asked = Instant::now();
    let patch = json!({"metadata": {"annotations": {"example.com/edited": when}}, "spec": {
        "sessions": {"revocations": {"users": [
            {"id": "aaaaaaaa-0000-4000-8000-000000000009", "before": "2026-01-01T00:00:00Z"},
        ]}},
    }});
    let undo = json!({"spec": {"sessions": {"revocations": null}}});
    let edit = |patch: &Value| {
        world.kubectl(&[
            "patch",
            "mcpserver",
            Server::Quickstart.name(),
            "--type",
            "merge",
            "--request-timeout=3s",
            "--patch",
            &patch.to_string(),
        ])
    };
    while let Err(error) = edit(&patch) {
        ensure!(
            asked.elapsed() < RETURN,
            "{when} the API server does not answer: {error}"
        );
        sleep(PAUSE).await;
    }
    let returned = Instant::now();
    let served = |now: &Conditions| now.observed_generation == now.generation;
    world
        .wait(Server::Quickstart, &format!("the edit {when}"), served)
        .await?;
    let took = returned.elapsed();
    println!(
        "    {when}: the edit was served {:.1} s after the API server answered",
        took.as_secs_f32()
    );
    ensure!(took < SERVED, "{when} the edit was served after {took:?}");
    edit(&undo)?;
    world
        .wait(Server::Quickstart, &format!("the edit back {when}"), served)
        .await?;
    Ok(())
}

/// When `Ready` changed last.
pub(crate) fn transition(conditions: &Conditions) -> Option<String> {
    let all = conditions.status["conditions"].as_array()?;
    let ready = all.iter().find(|condition| condition["type"] == "Ready")?;
    Some(ready["lastTransitionTime"].as_str()?.to_owned())
}

/// The UIDs of the operator's Pods, sorted.
fn operators(world: &World) -> TestResult<Vec<String>> {
    let text = world.running.cluster.kubectl(&[
        "get",
        "pods",
        "--namespace",
        NAMESPACE_OPERATOR,
        "--selector",
        "app.kubernetes.io/name=behalf-operator",
        "--output",
        "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}",
    ])?;
    let mut pods: Vec<String> = text.lines().map(str::to_owned).collect();
    pods.sort();
    Ok(pods)
}

/// Returns the operators' Pods, once one of them renews the Lease.
async fn operators_when_one_leads(world: &World) -> TestResult<Vec<String>> {
    let lease = || {
        world.running.cluster.kubectl(&[
            "get",
            "lease",
            "behalf-operator",
            "--namespace",
            NAMESPACE_OPERATOR,
            "--output",
            "jsonpath={.spec.holderIdentity} {.spec.renewTime}",
        ])
    };
    let first = lease()?;
    let limit = Instant::now() + SERVED;
    loop {
        let now = lease()?;
        let pods = operators(world)?;
        let holder = now.split(' ').next().unwrap_or_default();
        let is_one = !holder.is_empty() && pods.iter().any(|pod| pod.starts_with(&format!("{holder} ")));
        if is_one && now != first {
            return Ok(pods);
        }
        ensure!(Instant::now() < limit, "nobody renews the Lease: {now}");
        sleep(PAUSE).await;
    }
}
