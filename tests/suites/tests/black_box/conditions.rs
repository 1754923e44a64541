//! Each condition follows its cause: a test makes exactly one cause false and looks at all conditions.

use std::time::Duration;

use behalf_demo::environment::{
    self, Conditions, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server, create_federated_credential,
};
use behalf_demo::mcp_client::{Era, PendingSignIn};
use behalf_simulators::entra::{Consent, Effect, Fault, RequestKind};
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use serde_json::{Value, json};

use crate::credentials::{pod_of, restarts};
use crate::ensure;
use crate::guard::restoring;
use crate::world::{TestResult, World};

crate::tests![
    federation_verified_follows_the_federated_credential_without_a_restart,
    entra_that_does_not_answer_is_unknown_and_keeps_ready,
    a_permission_that_is_withdrawn_is_told_by_user_sign_in_alone,
    a_server_that_is_no_mcp_server_is_not_verified,
    a_pod_that_no_node_takes_is_not_available,
    an_edit_that_is_refused_is_not_accepted_and_changes_nothing_that_runs,
    a_taken_public_url_is_not_accepted,
    of_two_objects_with_one_address_the_oldest_is_served_and_the_other_follows_it,
    a_foreign_host_is_not_accepted,
    an_image_that_cannot_be_pulled_is_not_available,
    without_a_pod_nothing_is_claimed,
    a_settled_system_writes_nothing,
];

/// Every condition but `Ready` and the named one is as it was. `Reconciling` and `Stalled` exist only while
/// they are true, and belong to the cause.
fn only_these_changed(before: &Conditions, after: &Conditions, changed: &str) -> TestResult {
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
    ensure!(restarts(&now) == restarts(&pod), "a container restarted");
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

async fn a_permission_that_is_withdrawn_is_told_by_user_sign_in_alone(world: &World) -> TestResult {
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

    // Signed in and not exchanged yet: the next call meets what an administrator does meanwhile.
    let signed_in = world.sign_in(server, &ANA).await?;
    world.entra.put_consents(&consents(&[CLIENT_ID])).await?;
    // The first request of a connection needs the exchange, so that none opens.
    let refused = match signed_in.connect(Era::Modern).await {
        Err(error) => crate::world::chain(&error),
        Ok(connection) => {
            connection.close().await;
            "nothing".to_owned()
        }
    };
    let seen = world
        .wait(server, "UserSignIn=False", |now| now.is("UserSignIn", "False"))
        .await;
    let all = consents(&[CLIENT_ID, AZURE_DEVOPS_APPLICATION_ID]);
    world.entra.put_consents(&all).await?;
    let seen = seen?;
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

async fn a_server_that_is_no_mcp_server_is_not_verified(world: &World) -> TestResult {
    let server = Server::Quickstart;
    let before = world.wait_ready(server).await?;
    let pod = pod_of(world, server).await?;
    let name = format!("pod/{}", pod.metadata.name.clone().unwrap_or_default());
    let image = |image: &str| world.kubectl(&["set", "image", &name, &format!("mcp-server={image}")]);
    let right = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .find(|container| container.name == "mcp-server")
        .and_then(|container| container.image.clone())
        .ok_or("the Pod has no server")?;

    // In this one Pod the server gives way to a web server that passes every probe of the kubelet.
    let web_server = world.web_server_image()?;
    let work = async {
        image(&web_server)?;
        let broken = |now: &Conditions| now.is("Verified", "False") && now.is("Available", "True");
        world.wait(server, "Verified=False", broken).await
    };
    let broken = restoring(work, async { image(&right).map(drop) }).await?;
    is_false_alone(&before, &broken, "Verified", "ServerError")?;

    let after = world.wait_ready(server).await?;
    only_these_changed(&before, &after, "nothing")?;
    let now = pod_of(world, server).await?;
    ensure!(now.metadata.uid == pod.metadata.uid, "the Pod was replaced");
    Ok(())
}

async fn a_pod_that_no_node_takes_is_not_available(world: &World) -> TestResult {
    let server = Server::Article;
    let before = world.wait_ready(server).await?;
    let pod = pod_of(world, server).await?.metadata.name.unwrap_or_default();
    let nodes = world.kubectl(&["get", "nodes", "--output", "name"])?;
    let nodes: Vec<_> = nodes.split_whitespace().collect();
    let each = |verb: &str| {
        nodes
            .iter()
            .try_for_each(|node| world.kubectl(&[verb, node]).map(drop))
    };
    let work = async {
        each("cordon")?;
        world.kubectl(&["delete", "pod", &pod])?;
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

async fn an_edit_that_is_refused_is_not_accepted_and_changes_nothing_that_runs(world: &World) -> TestResult {
    // The older object owns the address, so the younger one is edited.
    let [other, server] = by_age(world)?;
    // What the sign-in further down would show is known before.
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

/// An object like quickstart under another name, changed by `change`.
fn scratch(world: &World, change: impl FnOnce(&mut Value)) -> TestResult<Value> {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
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
    wait_named(world, "scratch", what, wanted).await
}

async fn wait_named(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&Conditions) -> bool,
) -> TestResult<Conditions> {
    let limit = Duration::from_mins(1);
    let seen = |conditions: &Conditions| println!("    {name}: {}", conditions.summary());
    Ok(environment::wait_for(&world.running.client, name, what, limit, seen, wanted).await?)
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

async fn of_two_objects_with_one_address_the_oldest_is_served_and_the_other_follows_it(
    world: &World,
) -> TestResult {
    const ADDRESS: &str = "http://localhost:8597";
    let (older, younger) = ("scratch", "scratch-too");
    let create = |name: &str| -> TestResult {
        world.apply(&scratch(world, |object| {
            object["metadata"]["name"] = json!(name);
            object["spec"]["publicUrl"] = json!(ADDRESS);
        })?)
    };
    let is = |now: &Conditions, status: &str, reason: &str| {
        now.get("Accepted")
            .is_some_and(|accepted| accepted.status == status && accepted.reason == reason)
    };
    let taken = |now: &Conditions| is(now, "False", "PublicUrlTaken");
    let accepted = |now: &Conditions| is(now, "True", "Accepted");
    let outcome = async {
        create(older)?;
        // Creation times have whole seconds: the younger object is younger in any order of UIDs.
        tokio::time::sleep(Duration::from_secs(2)).await;
        create(younger)?;
        wait_named(world, older, "Accepted=True", accepted).await?;
        wait_named(world, younger, "PublicUrlTaken", taken).await?;
        // The rule needs no stored state: a restarted operator finds the same owner.
        let operator = |arguments: &[&str]| {
            let namespace = ["--namespace", NAMESPACE_OPERATOR];
            world
                .running
                .cluster
                .kubectl(&[&namespace[..], arguments].concat())
        };
        operator(&["delete", "pod", "--all", "--wait=true"])?;
        operator(&["rollout", "status", "deployment", "--timeout=60s"])?;
        tokio::time::sleep(Duration::from_secs(12)).await;
        wait_named(world, older, "Accepted=True after the restart", accepted).await?;
        wait_named(world, younger, "PublicUrlTaken after the restart", taken).await?;
        // The owner changes its address, changes it back and is deleted. The younger object reacts each time.
        let edit = |url: &str| {
            let patch = json!({"spec": {"publicUrl": url}}).to_string();
            world.kubectl(&["patch", "mcpserver", older, "--type", "merge", "--patch", &patch])
        };
        edit("http://localhost:8596")?;
        wait_named(world, younger, "Accepted=True after the owner moved", accepted).await?;
        edit(ADDRESS)?;
        wait_named(world, younger, "PublicUrlTaken after the owner came back", taken).await?;
        world.kubectl(&["delete", "mcpserver", older])?;
        wait_named(world, younger, "Accepted=True after the owner went", accepted).await?;
        Ok(())
    };
    let outcome = outcome.await;
    for name in [older, younger] {
        world.kubectl(&["delete", "mcpserver", name, "--ignore-not-found"])?;
    }
    outcome
}

async fn a_foreign_host_is_not_accepted(world: &World) -> TestResult {
    for (pointer, value) in [
        ("/spec/entra/authority", json!("https://login.example")),
        (
            "/spec/server/azureDevOps/endpoints/core",
            json!("https://dev.example"),
        ),
    ] {
        let field = pointer.trim_start_matches("/spec/").replace('/', ".");
        let mut object = scratch(world, |object| {
            object["spec"]["publicUrl"] = json!("http://localhost:8598");
        })?;
        let (parent, key) = pointer.rsplit_once('/').ok_or("no parent")?;
        object
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .ok_or_else(|| format!("the example has no {parent}"))?
            .insert(key.to_owned(), value);
        world.apply(&object)?;
        let refused = wait_scratch(world, "Accepted=False", |now| now.is("Accepted", "False")).await;
        world.kubectl(&["delete", "mcpserver", "scratch"])?;
        let refused = refused?;
        let accepted = refused.get("Accepted").ok_or("Accepted is gone")?;
        ensure!(
            accepted.reason == "InvalidSpec"
                && accepted.message.contains(&field)
                && accepted.message.contains("allowed."),
            "{field}: {}: {}",
            accepted.reason,
            accepted.message
        );
    }
    Ok(())
}

async fn an_image_that_cannot_be_pulled_is_not_available(world: &World) -> TestResult {
    let server = Server::Quickstart;
    world.wait_ready(server).await?;
    let pod = pod_of(world, server).await?;
    let name = format!("pod/{}", pod.metadata.name.clone().unwrap_or_default());
    let image = |image: &str| world.kubectl(&["set", "image", &name, &format!("mcp-server={image}")]);
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut built_in = containers.filter(|container| container.name == "mcp-server");
    let right = built_in.next().and_then(|container| container.image.clone());
    let right = right.ok_or("the Pod has no server")?;
    let (repository, _) = right.rsplit_once(':').ok_or("the image has no tag")?;
    let absent = format!("{repository}:absent");
    let work = async {
        image(&absent)?;
        let failed = |now: &Conditions| {
            let available = now.get("Available");
            available.is_some_and(|condition| condition.reason == "ImagePullFailed")
        };
        world
            .wait(server, "Available=False (ImagePullFailed)", failed)
            .await
    };
    let seen = restoring(work, async { image(&right).map(drop) }).await?;
    ensure!(
        seen.is("Available", "False") && seen.is("Ready", "False"),
        "an image that is not there leaves {}",
        seen.summary()
    );
    world.wait_ready(server).await?;
    Ok(())
}

async fn without_a_pod_nothing_is_claimed(world: &World) -> TestResult {
    let work = async {
        world.apply(&scratch(world, |object| {
            object["spec"]["publicUrl"] = json!("http://localhost:8599");
            object["spec"]["pod"]["nodeSelector"] = json!({"example.com/no-such-node": "true"});
        })?)?;
        let unavailable = |now: &Conditions| now.is("Accepted", "True") && now.is("Available", "False");
        wait_scratch(world, "Accepted=True and Available=False", unavailable).await
    };
    let delete = async { world.kubectl(&["delete", "mcpserver", "scratch"]).map(drop) };
    let seen = restoring(work, delete).await?;
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
    // A condition that became true a moment ago may still bring an event.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (versions, requests) = (versions(world)?, writes(world)?);
    tokio::time::sleep(Duration::from_mins(2)).await;
    let (versions_now, requests_now) = (self::versions(world)?, writes(world)?);
    // Events expire by themselves. An object that is new or has another version was written.
    let written: Vec<&String> = versions_now
        .iter()
        .filter(|line| !versions.contains(line))
        .collect();
    ensure!(written.is_empty(), "something was written: {written:?}");
    // A request that changes nothing leaves no trace in an object.
    ensure!(
        requests == requests_now,
        "something was asked for:\n{requests:#?}\nthen\n{requests_now:#?}"
    );
    Ok(())
}

/// The version of every object that the operator may write, in the namespaces of the servers and of the operator
/// itself, events and leases included.
fn versions(world: &World) -> TestResult<Vec<String>> {
    const KINDS: &str =
        "mcpservers,deployments,services,configmaps,networkpolicies,serviceaccounts,secrets,events,leases";
    const COLUMNS: &str =
        "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}{\"\\n\"}{end}";
    let mut versions = Vec::new();
    for namespace in [NAMESPACE_SERVERS, NAMESPACE_OPERATOR] {
        let arguments = ["--namespace", namespace, "get", KINDS, "--output", COLUMNS];
        let text = world.running.cluster.kubectl(&arguments)?;
        versions.extend(text.lines().map(|line| format!("{namespace}/{line}")));
    }
    ensure!(
        Server::ALL.iter().all(|server| versions
            .iter()
            .any(|line| line.contains(&format!("McpServer/{}=", server.name())))),
        "the list lacks an object: {versions:?}"
    );
    Ok(versions)
}

/// The counts of write requests that the API server answered, of those that only the operator makes: everything of
/// its own API group, every server-side apply, and every write to kinds that nobody else writes while the cluster
/// is left alone. Writes of the control plane to subresources, and its leases and events, are not among them.
fn writes(world: &World) -> TestResult<Vec<String>> {
    let text = world.running.cluster.kubectl(&["get", "--raw", "/metrics"])?;
    let requests: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
        .collect();
    let has = |line: &str, label: &str, value: &str| line.contains(&format!("{label}=\"{value}\""));
    ensure!(
        requests
            .iter()
            .any(|line| has(line, "group", "behalf.dev") && has(line, "verb", "APPLY")),
        "the API server counts no status that the operator wrote"
    );
    let reads = ["GET", "LIST", "WATCH"];
    let children = [
        "services",
        "configmaps",
        "networkpolicies",
        "serviceaccounts",
        "secrets",
        "deployments",
    ];
    let counts = requests.into_iter().filter(|line| {
        let is_read = reads.iter().any(|verb| has(line, "verb", verb));
        let is_child =
            children.iter().any(|resource| has(line, "resource", resource)) && has(line, "subresource", "");
        !is_read && (has(line, "group", "behalf.dev") || has(line, "verb", "APPLY") || is_child)
    });
    Ok(counts.map(str::to_owned).collect())
}
