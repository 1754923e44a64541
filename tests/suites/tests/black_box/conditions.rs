//! Each condition follows its cause: a test makes exactly one cause false and looks at all conditions.

use behalf_demo::environment::{Conditions, Server, create_federated_credential};
use behalf_demo::mcp_client::{Era, PendingSignIn};
use behalf_simulators::azure_devops::{OrganizationTenant, Settings};
use behalf_simulators::entra::{Consent, Effect, Fault, RequestKind};
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_tests::limits::restoring;
use serde_json::{Value, json};

use crate::credentials::pod_of;
use crate::ensure;
use crate::restarts::restarts;
use crate::server_container::ServerContainer;
use crate::world::{TestResult, World};

crate::tests![
    Quickstart: [
        federation_verified_follows_the_federated_credential_without_a_restart,
        a_server_that_is_no_mcp_server_is_not_verified,
        an_image_that_cannot_be_pulled_is_not_available,
    ],
    Article: [a_pod_that_no_node_takes_is_not_available],
    Everything: [
        entra_that_does_not_answer_is_unknown_and_keeps_ready,
        a_withdrawn_permission_changes_user_sign_in_alone,
        an_organization_of_another_tenant_changes_tenant_matches_alone,
        an_edit_that_is_refused_is_not_accepted_and_changes_nothing_that_runs,
    ],
];

/// Every condition but `Ready` and the named one is as it was. `Reconciling` and `Stalled` exist only while
/// they are true, and belong to the cause.
pub(crate) fn only_these_changed(before: &Conditions, after: &Conditions, changed: &str) -> TestResult {
    let ours = |kind: &str| [changed, "Ready", "Reconciling", "Stalled"].contains(&kind);
    let others = |conditions: &Conditions| -> Vec<(String, String)> {
        let all = conditions.all.iter().filter(|condition| !ours(&condition.kind));
        all.map(|condition| (condition.kind.clone(), condition.status.clone()))
            .collect()
    };
    let (was, is) = (others(before), others(after));
    ensure!(was == is, "more changed than {changed}: {was:?} became {is:?}");
    Ok(())
}

/// The condition and `Ready` are false, and nothing else changed.
fn is_false_alone(before: &Conditions, after: &Conditions, kind: &str, reason: &str) -> TestResult {
    for kind in [kind, "Ready"] {
        let seen = after
            .get(kind)
            .map(|condition| (condition.status.as_str(), condition.reason.as_str()));
        ensure!(
            seen == Some(("False", reason)),
            "{kind} is {seen:?}, not False with {reason}: {}",
            after.summary()
        );
    }
    only_these_changed(before, after, kind)
}

/// Tries to sign in, so that the sidecar calls Entra's token endpoint and reports an error of it at once.
async fn try_to_sign_in(world: &World, server: Server) -> TestResult {
    let pending = PendingSignIn::begin(&world.layout.mcp_url(server)).await?;
    // The result of the sign-in does not matter here.
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
    let work = async {
        world
            .entra
            .update_application(CLIENT_ID, |application| {
                application
                    .federated_credentials
                    .retain(|credential| credential.subject != subject);
            })
            .await?;
        try_to_sign_in(world, server).await?;
        world
            .wait(server, "FederationVerified=False", |now| {
                now.is("FederationVerified", "False")
            })
            .await
    };
    let restore = async {
        create_federated_credential(&world.entra, server.name(), &before).await?;
        Ok(())
    };
    let broken = restoring(work, restore).await?;

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
    ensure!(restarts(&now) == restarts(&pod), "a container restarted");
    Ok(())
}

async fn entra_that_does_not_answer_is_unknown_and_keeps_ready(world: &World) -> TestResult {
    let server = Server::Article;
    let before = world.wait_ready(server).await?;
    let work = async {
        world
            .entra
            .add_fault(&Fault::always(RequestKind::TOKEN, Effect::Reset))
            .await?;
        world.delete_pods(server)?;
        world
            .wait(server, "FederationVerified=Unknown", |now| {
                now.is("FederationVerified", "Unknown")
                    && now.is("Available", "True")
                    && now.is("Verified", "True")
            })
            .await
    };
    let restore = async { Ok(world.entra.clear_faults().await?) };
    let unknown = restoring(work, restore).await?;
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

async fn a_withdrawn_permission_changes_user_sign_in_alone(world: &World) -> TestResult {
    let server = Server::Quickstart;
    let consents = |resources: &[&str]| -> Vec<Consent> {
        resources
            .iter()
            .map(|resource| Consent::by_administrator(CLIENT_ID, resource))
            .collect()
    };
    let works = |now: &Conditions| now.is("UserSignIn", "True") && now.is("Ready", "True");
    world.call_a_tool(server, Era::Modern).await?;
    let before = world.wait(server, "UserSignIn=True", works).await?;

    // The user is signed in and no token is exchanged yet, so that the next call needs the consent.
    let signed_in = world.sign_in(server, &ANA).await?;
    let work = async {
        world.entra.put_consents(&consents(&[CLIENT_ID])).await?;
        // The first request of a connection needs the exchange, so the connection fails.
        let refused = match signed_in.connect(Era::Modern).await {
            Err(error) => behalf_runtime::error_chain(&error),
            Ok(connection) => {
                connection.close().await;
                "nothing".to_owned()
            }
        };
        let seen = world
            .wait(server, "UserSignIn=False", |now| now.is("UserSignIn", "False"))
            .await?;
        Ok((refused, seen))
    };
    let all = consents(&[CLIENT_ID, AZURE_DEVOPS_APPLICATION_ID]);
    let restore = async { Ok(world.entra.put_consents(&all).await?) };
    let (refused, seen) = restoring(work, restore).await?;
    ensure!(
        refused.contains("Auth required"),
        "without the permission a connection met: {refused}"
    );
    let condition = seen.get("UserSignIn").ok_or("the condition is gone")?;
    ensure!(
        condition.reason == "ConsentRequired"
            && condition
                .message
                .contains(&format!("az ad app permission admin-consent --id {CLIENT_ID}")),
        "{}: {}",
        condition.reason,
        condition.message
    );
    only_these_changed(&before, &seen, "UserSignIn")?;
    ensure!(seen.is("Ready", "True"), "Ready did not stay: {}", seen.summary());

    world.call_a_tool(server, Era::Modern).await?;
    let after = world.wait(server, "UserSignIn=True", works).await?;
    only_these_changed(&before, &after, "nothing")
}

async fn an_organization_of_another_tenant_changes_tenant_matches_alone(world: &World) -> TestResult {
    let server = Server::Article;
    let works = |now: &Conditions| now.is("TenantMatches", "True") && now.is("Ready", "True");
    let before = world.wait(server, "TenantMatches=True", works).await?;
    let own = world.azure_devops.settings().await?;
    let other = Settings {
        organization_tenant: OrganizationTenant::Other,
        ..own
    };
    world.azure_devops.change_settings(&other).await?;
    // A Pod asks when it starts. One that knows the right tenant asks again after an hour.
    let work = async {
        world.delete_pods(server)?;
        let differs = |now: &Conditions| {
            now.is("TenantMatches", "False") && now.is("Available", "True") && now.is("Verified", "True")
        };
        world.wait(server, "TenantMatches=False", differs).await
    };
    let restore = async { Ok(world.azure_devops.change_settings(&own).await?) };
    let seen = restoring(work, restore).await?;
    let condition = seen.get("TenantMatches").ok_or("the condition is gone")?;
    ensure!(
        condition.reason == "OtherTenant" && condition.message.contains("curl --silent --head"),
        "{}: {}",
        condition.reason,
        condition.message
    );
    ensure!(seen.is("Ready", "True"), "Ready did not stay: {}", seen.summary());
    only_these_changed(&before, &seen, "TenantMatches")?;

    // No Pod has to restart: the running one sees the fix.
    let after = world.wait(server, "TenantMatches=True", works).await?;
    only_these_changed(&before, &after, "nothing")
}

/// Regression: `mcp-lifecycle-operator#111`, a web server that counted as a ready MCP server.
async fn a_server_that_is_no_mcp_server_is_not_verified(world: &World) -> TestResult {
    let server = Server::Quickstart;
    let before = world.wait_ready(server).await?;
    let pod = pod_of(world, server).await?;
    let container = ServerContainer::of(world, server).await?;
    // A web server that passes every probe of the kubelet replaces the server.
    let web_server = world.web_server_image()?;
    let work = async {
        container.run_image(&web_server).await?;
        let broken = |now: &Conditions| now.is("Verified", "False") && now.is("Available", "True");
        world.wait(server, "Verified=False", broken).await
    };
    let broken = restoring(work, container.restore()).await?;
    is_false_alone(&before, &broken, "Verified", "ServerError")?;

    let after = world.conditions(server).await?;
    only_these_changed(&before, &after, "nothing")?;
    let now = pod_of(world, server).await?;
    ensure!(now.metadata.uid == pod.metadata.uid, "the Pod was replaced");
    Ok(())
}

async fn a_pod_that_no_node_takes_is_not_available(world: &World) -> TestResult {
    let server = Server::Article;
    let before = world.wait_ready(server).await?;
    let nodes = world.kubectl(&["get", "nodes", "--output", "name"])?;
    let nodes: Vec<_> = nodes.split_whitespace().collect();
    let each = |verb: &str| {
        nodes
            .iter()
            .try_for_each(|node| world.kubectl(&[verb, node]).map(drop))
    };
    let work = async {
        each("cordon")?;
        world.delete_pods(server)?;
        let unschedulable = |now: &Conditions| {
            let available = now.get("Available");
            available.is_some_and(|condition| condition.reason == "Unschedulable")
        };
        world
            .wait(server, "Available=False (Unschedulable)", unschedulable)
            .await
    };
    let seen = restoring(work, async { each("uncordon") }).await?;
    is_false_alone(&before, &seen, "Available", "Unschedulable")?;
    let after = world.wait_ready(server).await?;
    only_these_changed(&before, &after, "nothing")
}

/// Regression: `toolhive docs (misconfiguration)`, a wrong setting that surfaced as a crash of the Pod.
async fn an_edit_that_is_refused_is_not_accepted_and_changes_nothing_that_runs(world: &World) -> TestResult {
    // The older object owns the address, so the younger one is edited.
    let [other, server] = by_age(world)?;
    // UserSignIn is True before the edit, so that the sign-in further down does not change it.
    world.sign_in(server, &ANA).await?;
    let before = world
        .wait(server, "UserSignIn=True", |now| {
            now.is("UserSignIn", "True") && now.is("Ready", "True")
        })
        .await?;
    let pod = pod_of(world, server).await?.metadata.uid;
    let origin = |server| {
        let url = world.layout.public_url(server).to_string();
        json!({"spec": {"publicUrl": url.trim_end_matches('/')}}).to_string()
    };
    let edit = |patch: &str| {
        world.kubectl(&[
            "patch",
            "mcpserver",
            server.name(),
            "--type",
            "merge",
            "--patch",
            patch,
        ])
    };
    edit(&origin(other))?;
    let refused = world
        .wait(server, "Accepted=False", |now| now.is("Accepted", "False"))
        .await;
    let (pod_now, signed_in) = (pod_of(world, server).await, world.sign_in(server, &ANA).await);
    edit(&origin(server))?;
    let refused = refused?;
    is_false_alone(&before, &refused, "Accepted", "PublicUrlTaken")?;
    ensure!(
        refused.is("Stalled", "True"),
        "the object must be edited, but is not Stalled: {}",
        refused.summary()
    );
    ensure!(pod_now?.metadata.uid == pod, "a refused edit replaced the Pod");
    signed_in?;
    let after = world.wait_ready(server).await?;
    only_these_changed(&before, &after, "nothing")
}

/// Returns both servers, the older one first. The order is that of the `publicUrl` rule: by creation time,
/// then by UID.
fn by_age(world: &World) -> TestResult<[Server; 2]> {
    let age = |server: Server| -> TestResult<(String, String)> {
        let metadata = world.get("mcpserver", server.name())?["metadata"].clone();
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        Ok((text("creationTimestamp"), text("uid")))
    };
    let (quickstart, article) = (Server::Quickstart, Server::Article);
    Ok(if age(quickstart)? < age(article)? {
        [quickstart, article]
    } else {
        [article, quickstart]
    })
}

async fn an_image_that_cannot_be_pulled_is_not_available(world: &World) -> TestResult {
    let server = Server::Quickstart;
    world.wait_ready(server).await?;
    let container = ServerContainer::of(world, server).await?;
    let (repository, _) = container.image().rsplit_once(':').ok_or("the image has no tag")?;
    let absent = format!("{repository}:absent");
    let work = async {
        container.set_image(&absent)?;
        let failed = |now: &Conditions| {
            let available = now.get("Available");
            available.is_some_and(|condition| condition.reason == "ImagePullFailed")
        };
        world
            .wait(server, "Available=False (ImagePullFailed)", failed)
            .await
    };
    let seen = restoring(work, container.restore()).await?;
    ensure!(
        seen.is("Available", "False") && seen.is("Ready", "False"),
        "an image that is not there leaves {}",
        seen.summary()
    );
    Ok(())
}
