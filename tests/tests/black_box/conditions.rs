//! Each condition follows its cause: a test makes exactly one cause false and looks at all conditions.

use std::time::Duration;

use behalf_tests::client::PendingSignIn;
use behalf_tests::entra::{Effect, Fault, RequestKind};
use behalf_tests::environment::{Conditions, Server, create_federated_credential};
use behalf_tests::people::{ANA, CLIENT_ID};
use behalf_tests::sign_in::{Browser, Visit};
use serde_json::{Value, json};

use crate::credentials::pod_of;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    federation_verified_follows_the_federated_credential_without_a_restart,
    entra_that_does_not_answer_is_unknown_and_keeps_ready,
    a_taken_public_url_is_not_accepted,
    an_image_that_cannot_be_pulled_is_not_available,
    a_settled_system_writes_nothing,
];

/// Every condition but `Ready` and the named one is as it was.
fn only_these_changed(before: &Conditions, after: &Conditions, changed: &str) -> TestResult {
    for condition in &before.all {
        if condition.kind == changed || condition.kind == "Ready" || condition.kind == "Reconciling" {
            continue;
        }
        let now = after
            .get(&condition.kind)
            .map(|condition| condition.status.as_str());
        ensure!(
            now == Some(condition.status.as_str()),
            "{} was {} and is {now:?} after {changed} changed",
            condition.kind,
            condition.status
        );
    }
    Ok(())
}

/// A sign-in that ends at Entra's token endpoint: whatever is wrong there, the sidecar notices at once.
async fn try_to_sign_in(world: &World, server: Server) -> TestResult {
    let pending = PendingSignIn::begin(&world.layout.mcp_url(server)).await?;
    // Whether the browser gets back is not the question here.
    let _ = Browser::new()?
        .sign_in(&Visit::new(pending.authorize_url().clone(), ANA.user_name))
        .await;
    Ok(())
}

async fn federation_verified_follows_the_federated_credential_without_a_restart(world: &World) -> TestResult {
    let server = Server::Quickstart;
    let before = world.wait_ready(server).await?;
    let pod = pod_of(world, server).await?;
    let subject = before
        .status
        .pointer("/federation/subject")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    world
        .entra
        .update_application(CLIENT_ID, |application| {
            application
                .federated_credentials
                .retain(|credential| credential.subject != subject);
        })
        .await?;
    try_to_sign_in(world, server).await?;
    let broken = world
        .wait(server, "FederationVerified=False", |now| {
            now.is("FederationVerified", "False")
        })
        .await;
    let mended = create_federated_credential(&world.entra, server.name(), &before).await;
    let broken = broken?;
    mended?;

    let condition = broken.get("FederationVerified").ok_or("the condition is gone")?;
    ensure!(
        condition.reason == "FicSubjectMismatch",
        "the reason is {}",
        condition.reason
    );
    let command = broken
        .status
        .pointer("/federation/command")
        .and_then(Value::as_str)
        .unwrap_or_default();
    ensure!(
        command.starts_with("az ad app federated-credential create") && command.contains(&subject),
        "the command is {command:?}"
    );
    ensure!(
        condition.message.contains(command),
        "the message lacks the command: {}",
        condition.message
    );
    ensure!(
        broken.get("Ready").is_some_and(|ready| ready.status == "False"),
        "Ready did not follow"
    );
    only_these_changed(&before, &broken, "FederationVerified")?;

    let after = world.wait_ready(server).await?;
    ensure!(
        after.is("FederationVerified", "True"),
        "Ready without FederationVerified"
    );
    let now = pod_of(world, server).await?;
    ensure!(now.metadata.uid == pod.metadata.uid, "the Pod was replaced");
    let restarts: i32 = now
        .status
        .iter()
        .flat_map(|status| {
            status
                .container_statuses
                .iter()
                .chain(&status.init_container_statuses)
                .flatten()
        })
        .map(|container| container.restart_count)
        .sum();
    ensure!(restarts == 0, "{restarts} containers restarted");
    Ok(())
}

async fn entra_that_does_not_answer_is_unknown_and_keeps_ready(world: &World) -> TestResult {
    let server = Server::Article;
    let before = world.wait_ready(server).await?;
    world
        .entra
        .add_fault(&Fault::always(RequestKind::TOKEN, Effect::Reset))
        .await?;
    let pod = pod_of(world, server).await?.metadata.name.unwrap_or_default();
    let deleted = world.kubectl(&["delete", "pod", &pod]);
    let unknown = world
        .wait(server, "FederationVerified=Unknown", |now| {
            now.is("FederationVerified", "Unknown")
                && now.is("Available", "True")
                && now.is("Verified", "True")
        })
        .await;
    world.entra.clear_faults().await?;
    deleted?;
    let unknown = unknown?;
    ensure!(
        unknown.get("Ready").is_some_and(|ready| ready.status != "False"),
        "an outage of Entra made Ready False"
    );
    only_these_changed(&before, &unknown, "FederationVerified")?;
    world
        .wait(server, "FederationVerified=True", |now| {
            now.is("FederationVerified", "True") && now.is("Ready", "True")
        })
        .await?;
    Ok(())
}

/// An object like quickstart under another name, changed by `change`.
fn scratch(world: &World, change: impl FnOnce(&mut Value)) -> TestResult<Value> {
    let text = world.kubectl(&["get", "mcpserver", Server::Quickstart.name(), "--output", "json"])?;
    let quickstart: Value = serde_json::from_str(&text)?;
    let mut object = json!({
        "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
        "metadata": {"name": "scratch"}, "spec": quickstart["spec"],
    });
    change(&mut object);
    Ok(object)
}

async fn wait_scratch(
    world: &World,
    what: &str,
    wanted: impl Fn(&Conditions) -> bool,
) -> TestResult<Conditions> {
    let limit = Duration::from_mins(1);
    Ok(
        behalf_tests::environment::wait_for(&world.running.client, "scratch", what, limit, |_| {}, wanted)
            .await?,
    )
}

async fn a_taken_public_url_is_not_accepted(world: &World) -> TestResult {
    let before = world.wait_ready(Server::Quickstart).await?;
    world.apply(&scratch(world, |_| {})?)?;
    let refused = wait_scratch(world, "Accepted=False", |now| now.is("Accepted", "False")).await;
    let older = world.conditions(Server::Quickstart).await?;
    world.kubectl(&["delete", "mcpserver", "scratch"])?;
    let refused = refused?;
    ensure!(
        refused.is("Ready", "False"),
        "not accepted, and still: {}",
        refused.summary()
    );
    ensure!(
        refused.is("Stalled", "True"),
        "the object must be edited, but is not Stalled: {}",
        refused.summary()
    );
    only_these_changed(&before, &older, "nothing")?;
    ensure!(
        older.is("Ready", "True"),
        "the older object suffered: {}",
        older.summary()
    );
    Ok(())
}

async fn an_image_that_cannot_be_pulled_is_not_available(world: &World) -> TestResult {
    world.apply(&scratch(world, |object| {
        object["spec"]["publicUrl"] = json!("http://localhost:8599");
        object["spec"]["sidecar"]["image"] = json!("behalf.local/behalf-auth-sidecar:absent");
    })?)?;
    let seen = wait_scratch(world, "Accepted=True and Available=False", |now| {
        now.is("Accepted", "True") && now.is("Available", "False")
    })
    .await;
    world.kubectl(&["delete", "mcpserver", "scratch"])?;
    let seen = seen?;
    for claimed in ["FederationVerified", "Verified", "Ready"] {
        ensure!(
            !seen.is(claimed, "True"),
            "{claimed} was claimed without a Pod: {}",
            seen.summary()
        );
    }
    ensure!(
        seen.status.pointer("/address/url").is_none(),
        "an address without a Pod"
    );
    Ok(())
}

async fn a_settled_system_writes_nothing(world: &World) -> TestResult {
    for server in Server::ALL {
        world.wait_ready(server).await?;
    }
    let versions = || -> TestResult<String> {
        world.kubectl(&[
            "get",
            "mcpservers,deployments,services,configmaps,networkpolicies,serviceaccounts,secrets",
            "--output",
            "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}{\"\\n\"}{end}",
        ])
    };
    let before = versions()?;
    tokio::time::sleep(Duration::from_secs(25)).await;
    let after = versions()?;
    ensure!(before == after, "something was written:\n{before}\nthen\n{after}");
    Ok(())
}
