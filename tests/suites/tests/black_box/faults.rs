//! Tests faults at Entra, at Azure DevOps and in the namespace, and what users see of them.

use std::time::Duration;

use behalf_demo::environment::{Conditions, Server};
use behalf_demo::mcp_client::{Era, SignedIn, call_with_token};
use behalf_simulators::azure_devops::Permissions;
use behalf_simulators::entra::{Policy, Settings};
use behalf_simulators::people::ANA;
use behalf_tests::limits::restoring;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::credentials::pod_of;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    Article: [
        a_deleted_child_comes_back,
        a_deleted_keyring_is_replaced_when_a_pod_needs_it_and_an_event_reports_it,
    ],
    Everything: [
        a_user_whose_grant_is_gone_is_asked_to_sign_in_again,
        conditional_access_is_a_challenge_that_the_session_survives,
        a_removed_permission_is_reported_to_the_model,
    ],
];

/// One tool call by raw HTTP with this access token.
pub(crate) async fn call(world: &World, server: Server, token: &str) -> TestResult<reqwest::Response> {
    Ok(call_with_token(&world.layout.mcp_url(server), token).await?)
}

/// Sets the lifetime of user tokens. The default is an hour.
pub(crate) async fn lifetime(world: &World, seconds: Option<u64>) -> TestResult {
    let change = |settings: &mut Settings| settings.application_token_seconds = seconds;
    world.entra.update_settings(change).await?;
    Ok(())
}

/// Sets Ana's Conditional Access.
async fn policies(world: &World, policies: &[Policy]) -> TestResult {
    world.entra.put_policies(ANA.user_name, policies).await?;
    Ok(())
}

/// Sets Ana's rights at Azure DevOps.
async fn permissions(world: &World, permissions: &Permissions) -> TestResult {
    world
        .azure_devops
        .change_permissions(ANA.object_id, permissions)
        .await?;
    Ok(())
}

async fn a_user_whose_grant_is_gone_is_asked_to_sign_in_again(world: &World) -> TestResult {
    // Tokens with less than ten minutes left are refreshed at the next call.
    let work = async {
        lifetime(world, Some(300)).await?;
        let token = world.access_token(Server::Quickstart, &ANA).await?;
        let before = call(world, Server::Quickstart, &token).await?.status();
        world.entra.revoke(ANA.user_name).await?;
        let answer = call(world, Server::Quickstart, &token).await?;
        let challenge = format!("{:?}", answer.headers().get("www-authenticate"));
        Ok((before, answer.status(), challenge))
    };
    let (before, status, challenge) = Box::pin(restoring(work, lifetime(world, None))).await?;
    ensure!(
        before == StatusCode::OK,
        "the call before the revocation answered {before}"
    );
    ensure!(
        status == StatusCode::UNAUTHORIZED,
        "the call after the revocation answered {status}"
    );
    ensure!(
        challenge.contains("resource_metadata="),
        "no challenge came: {challenge}"
    );
    Ok(())
}

/// Regression: `claude-code#48000` (AADSTS50076), `ms-365-mcp-server#485`, `vscode#319673`.
async fn conditional_access_is_a_challenge_that_the_session_survives(world: &World) -> TestResult {
    let mut sessions = Vec::new();
    for server in Server::ALL {
        let session = world.sign_in(server, &ANA).await?;
        let token = session.manager().lock().await.get_access_token().await?;
        sessions.push((server, session, token));
    }
    let work = async {
        policies(world, &[Policy::multi_factor()]).await?;
        for (server, session, token) in &sessions {
            let challenged = call(world, *server, token).await?.status();
            ensure!(
                challenged == StatusCode::UNAUTHORIZED,
                "{}: answered {challenged}",
                server.name()
            );
            // The next login of this client carries the claims that Entra asked for, and the call works again.
            let again = step_up(world, *server, session).await?;
            ensure!(
                again == StatusCode::OK,
                "{}: after the step-up: {again}",
                server.name()
            );
        }
        Ok(())
    };
    Box::pin(restoring(work, policies(world, &[]))).await?;
    // The sidecar remembers the refusal for a minute. Entra would take a request at each call for a loop.
    for (server, _, token) in &sessions {
        let mut survived = StatusCode::UNAUTHORIZED;
        for _ in 0..40 {
            survived = call(world, *server, token).await?.status();
            if survived == StatusCode::OK {
                break;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        ensure!(
            survived == StatusCode::OK,
            "{}: the first session answered {survived}",
            server.name()
        );
    }
    Ok(())
}

async fn step_up(world: &World, server: Server, before: &SignedIn) -> TestResult<StatusCode> {
    let renewed = world.sign_in_again(server, &ANA, before).await?;
    let token = renewed.manager().lock().await.get_access_token().await?;
    Ok(call(world, server, &token).await?.status())
}

async fn a_removed_permission_is_reported_to_the_model(world: &World) -> TestResult {
    let connection = world.connect(Server::Quickstart, &ANA, Era::Modern).await?;
    let run = json!({"project": "shop", "pipeline_id": 178, "branch": "main"});
    let all = world.azure_devops.permissions().await?;
    let mut without = all
        .get(ANA.object_id)
        .cloned()
        .ok_or("Ana has no permissions to remove")?;
    let with = without.clone();
    without.queue_builds = false;
    let work = async {
        permissions(world, &without).await?;
        Ok(connection.call("trigger_pipeline_run", run.clone()).await?)
    };
    let refused = restoring(work, permissions(world, &with)).await?;
    let allowed = connection.call("trigger_pipeline_run", run).await?;
    connection.close().await;
    ensure!(
        refused.is_error == Some(true),
        "a run was started without permission"
    );
    ensure!(
        allowed.is_error != Some(true),
        "refused with permission: {}",
        behalf_demo::text(&allowed)
    );
    Ok(())
}

async fn a_deleted_child_comes_back(world: &World) -> TestResult {
    let server = Server::Article;
    let name = server.name();
    world.wait_ready(server).await?;

    // The name contains a hash of the content, so the operator creates it again with the same name and content. The
    // Pod already has the files and does not change.
    let configuration = &world.configuration(server)?;
    let (before, pod) = (
        world.get("configmap", configuration)?,
        pod_of(world, server).await?,
    );
    delete_and_wait(world, "configmap", configuration).await?;
    let after = world.get("configmap", configuration)?;
    ensure!(
        after["metadata"]["uid"] != before["metadata"]["uid"],
        "the ConfigMap was not deleted"
    );
    ensure!(
        after["data"] == before["data"] && after["immutable"] == json!(true),
        "the ConfigMap came back with another content"
    );
    world.wait_ready(server).await?;
    let now = pod_of(world, server).await?;
    ensure!(now.metadata.uid == pod.metadata.uid, "the Pod was replaced");

    for kind in ["service", "networkpolicy", "serviceaccount", "deployment"] {
        delete_and_wait(world, kind, name).await?;
    }
    let deployment = format!("deployment/{name}");
    world.kubectl(&["rollout", "status", &deployment, "--timeout=120s"])?;
    world.wait_ready(server).await?;
    world.call_a_tool(server, Era::Legacy).await
}

async fn a_deleted_keyring_is_replaced_when_a_pod_needs_it_and_an_event_reports_it(
    world: &World,
) -> TestResult {
    let server = Server::Article;
    let name = server.name();
    let secret = format!("{name}-keyring");
    let before = world.wait_ready(server).await?;
    let sealing = |now: &Conditions| {
        let key = now.status.pointer("/keys/current").and_then(Value::as_str);
        key.map(str::to_owned)
    };
    let old = sealing(&before).ok_or("the status names no key")?;
    let replacements = replaced_keyrings(world, name)?;
    let token = world.access_token(server, &ANA).await?;
    let works = call(world, server, &token).await?.status();
    ensure!(
        works == StatusCode::OK,
        "the session does not work to begin with: {works}"
    );

    // The Pods have the keys in memory. While they report these keys, the operator replaces nothing. It reconciles a
    // settled object every 30 s.
    world.kubectl(&["delete", "secret", &secret, "--wait=true"])?;
    tokio::time::sleep(Duration::from_secs(45)).await;
    let works = call(world, server, &token).await?.status();
    ensure!(
        works == StatusCode::OK,
        "the session ended with the Secret: {works}"
    );
    ensure!(
        sealing(&world.conditions(server).await?).as_ref() == Some(&old),
        "the keyring was replaced although a Pod still reports it"
    );

    // New Pods need the Secret.
    world.delete_pods(server)?;
    world
        .wait(server, "another key", |now| {
            sealing(now).is_some_and(|key| key != old)
                && now.is("Ready", "True")
                && now.is("Available", "True")
        })
        .await?;
    let after = replaced_keyrings(world, name)?;
    ensure!(
        after > replacements,
        "no event KeyringReplaced: {replacements} before, {after} after"
    );
    let answer = call(world, server, &token).await?;
    ensure!(
        answer.status() == StatusCode::UNAUTHORIZED,
        "the session still works with a deleted key: {}",
        answer.status()
    );
    let challenge = format!("{:?}", answer.headers().get("www-authenticate"));
    ensure!(
        challenge.contains("invalid_token") && challenge.contains("resource_metadata="),
        "the session ended without a challenge: {challenge}"
    );
    let renewed = world.access_token(server, &ANA).await?;
    let works = call(world, server, &renewed).await?.status();
    ensure!(works == StatusCode::OK, "a fresh sign-in answered {works}");
    Ok(())
}

/// Number of events that report a replaced keyring of the object.
pub(crate) fn replaced_keyrings(world: &World, name: &str) -> TestResult<u64> {
    let text = world.kubectl(&["get", "events", "--output", "json"])?;
    let events: Value = serde_json::from_str(&text)?;
    let all = events["items"].as_array().into_iter().flatten();
    let ours =
        all.filter(|event| event["reason"] == "KeyringReplaced" && event["involvedObject"]["name"] == name);
    // Equal events may be one event with a count.
    let times = ours.map(|event| {
        let count = event["series"]["count"].as_u64().or(event["count"].as_u64());
        count.unwrap_or(1).max(1)
    });
    Ok(times.sum())
}

/// Deletes an object and waits until there is another one of its name.
async fn delete_and_wait(world: &World, kind: &str, name: &str) -> TestResult {
    world.kubectl(&["delete", kind, name, "--wait=true"])?;
    let limit = Instant::now() + Duration::from_mins(1);
    loop {
        let found = world.kubectl(&["get", kind, name, "--ignore-not-found", "--output", "name"])?;
        if !found.trim().is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < limit,
            "{kind} {name} did not come back within 60 s"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
