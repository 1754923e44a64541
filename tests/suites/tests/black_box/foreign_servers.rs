//! Servers of others in Pods that the operator made: `server.container` with the everything server of the MCP project, and
//! with one on `FastMCP`.

use std::collections::BTreeMap;
use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_SERVERS, wait_available};
use behalf_demo::mcp_client::{Connection, Era};
use behalf_local_cluster::Progress;
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, BEN};
use behalf_tests::foreign_server::ForeignServer::{self, Everything, FastMcp};
use behalf_tests::limits::restoring;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ensure;
use crate::inside::Inside;
use crate::scratch_server::{self, NAME, PORT, mcp_url, remove, sessions_in_redis, sign_in, wait};
use crate::world::{TestResult, World};

crate::tests![Scratch: [
    each_injection_gives_a_server_of_others_exactly_its_token,
    an_mcp_session_lives_in_one_pod_and_a_client_goes_on_in_another,
    an_image_of_another_repository_is_not_accepted,
    a_full_directory_evicts_the_pod_and_the_status_leads_to_the_words_of_the_kubelet,
]];

/// Maximum time of a rollout.
const LIMIT: Duration = Duration::from_mins(2);

pub(crate) const SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";

/// An object with a server of this image, and with these fields of its spec.
fn object(world: &World, image: &str, fields: &Value) -> TestResult<Value> {
    let mut all = json!({
        "server": {
            "container": {"image": image, "writablePaths": ["/tmp"]},
            "resources": {"limits": {"memory": "512Mi"}},
        },
        "tokenExchange": {"scope": SCOPE},
    });
    for (key, value) in fields.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    scratch_server::object(world, &format!("http://localhost:{PORT}"), &all)
}

/// Runs `work` while the object serves, and removes the object afterwards.
pub(crate) async fn serving(
    world: &World,
    server: ForeignServer,
    fields: &Value,
    work: impl AsyncFnOnce() -> TestResult,
) -> TestResult {
    let image = server.image(&Progress::default())?;
    world.running.cluster.load(std::slice::from_ref(&image))?;
    let image = world.running.cluster.image_reference(&image);
    scratch_server::serving(world, &object(world, &image, fields)?, work).await
}

async fn call(connection: &Connection, tool: &str, arguments: Value) -> TestResult<String> {
    let result = connection.call(tool, arguments).await?;
    let text = behalf_demo::text(&result);
    ensure!(result.is_error != Some(true), "{tool}: {text}");
    Ok(text)
}

async fn each_injection_gives_a_server_of_others_exactly_its_token(world: &World) -> TestResult {
    for (exchange, header, argument) in [
        (json!({"scope": SCOPE}), true, false),
        (json!({"scope": SCOPE, "injection": "Argument"}), false, true),
        (json!({"injection": "None"}), false, false),
    ] {
        serving(world, FastMcp, &json!({"tokenExchange": exchange}), async || {
            for person in [ANA, BEN] {
                let connection = sign_in(world, &person).await?.connect(Era::Legacy).await?;
                let text = call(&connection, "tokens", json!({})).await?;
                let token = json!({"aud": AZURE_DEVOPS_APPLICATION_ID, "oid": person.object_id});
                let expected = |arrives| if arrives { token.clone() } else { Value::Null };
                let expected = json!({"header": expected(header), "argument": expected(argument)});
                ensure!(
                    serde_json::from_str::<Value>(&text)? == expected,
                    "{exchange}: the server saw {text} in place of {expected}"
                );
                connection.close().await;
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn an_mcp_session_lives_in_one_pod_and_a_client_goes_on_in_another(world: &World) -> TestResult {
    // As the first process of its container this server ignores SIGTERM, so that each of its Pods lives for the whole time.
    let pod = json!({"terminationGracePeriodSeconds": 15});
    let fields = json!({"sessions": sessions_in_redis(world)?, "replicas": 2, "pod": pod});
    serving(world, Everything, &fields, async || {
        let signed_in = sign_in(world, &ANA).await?;
        let token = signed_in.manager().lock().await.get_access_token().await?;
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let response = post(&token, None, &initialize).await?;
        let id = response.headers().get("mcp-session-id").ok_or("no Mcp-Session-Id")?;
        let id = id.to_str()?.to_owned();
        ensure!(id.starts_with("bht1."), "the client got the server's own id: {id}");
        // The forwarder takes the next Pod for each connection.
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let mut answers = BTreeMap::new();
        for _ in 0..8 {
            let status = post(&token, Some(&id), &list).await?.status().as_u16();
            *answers.entry(status).or_insert(0) += 1;
        }
        let statuses: Vec<u16> = answers.keys().copied().collect();
        ensure!(statuses == [200, 404], "the two Pods answered {answers:?}");

        // The client's event stream and its calls are separate connections, and it initializes again once for each call.
        world.kubectl(&["scale", "mcpserver", NAME, "--replicas=1"])?;
        one_pod_is_left(world).await?;
        let connection = signed_in.connect(Era::Legacy).await?;
        call(&connection, "echo", json!({"message": "before"})).await?;
        // The Pod is replaced: no server knows the client's MCP session any more.
        world.kubectl(&["rollout", "restart", "deployment", NAME])?;
        wait_available(&world.running.client, NAMESPACE_SERVERS, NAME, LIMIT).await?;
        one_pod_is_left(world).await?;
        let text = call(&connection, "echo", json!({"message": "after"})).await?;
        ensure!(text == "Echo: after", "the call in a new Pod got {text}");
        connection.close().await;
        Ok(())
    })
    .await
}

/// Waits until the object has one Pod, and none that is about to end: the old Pod of a rollout serves for a moment beside the new one.
async fn one_pod_is_left(world: &World) -> TestResult {
    let selector = format!("app.kubernetes.io/instance={NAME}");
    let end = Instant::now() + LIMIT;
    loop {
        let pods = world.kubectl(&["get", "pods", "--selector", &selector, "--output", "name"])?;
        if pods.lines().count() == 1 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "there is not one Pod: {pods}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Posts a message over a connection of its own.
async fn post(token: &str, session: Option<&str>, message: &Value) -> TestResult<reqwest::Response> {
    let request = reqwest::Client::builder()
        .build()?
        .post(mcp_url()?)
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .json(message);
    let request = match session {
        Some(id) => request.header("mcp-session-id", id),
        None => request,
    };
    Ok(request.send().await?)
}

async fn an_image_of_another_repository_is_not_accepted(world: &World) -> TestResult {
    let image = "registry.evil.example/mcp/server:1";
    world.apply(&object(world, image, &json!({}))?)?;
    let refused = restoring(
        wait(world, "Accepted=False", |now| now.is("Accepted", "False")),
        remove(world),
    )
    .await?;
    let accepted = refused.get("Accepted").ok_or("no condition Accepted")?;
    ensure!(
        accepted.reason == "InvalidSpec" && accepted.message.contains("allowed.serverRepositories"),
        "{}: {}",
        accepted.reason,
        accepted.message
    );
    ensure!(refused.is("Stalled", "True"), "{}", refused.summary());
    Ok(())
}

/// Writes more than `writableSize` into the first directory. The limit is the kubelet's: each write succeeds.
const FILL: &str = "dd if=/dev/zero of=/proc/1/root/tmp/full bs=1M count=3";

/// Words of Kubernetes 1.34.
const WORDS: &str = r#"Usage of EmptyDir volume "writable-0" exceeds the limit "1Mi"."#;

/// The kubelet writes the reason and its words into the status of the Pod only if a container ended with an error. Python's
/// server ends without one, and Node's, which does not handle SIGTERM, is killed.
async fn a_full_directory_evicts_the_pod_and_the_status_leads_to_the_words_of_the_kubelet(
    world: &World,
) -> TestResult {
    for (server, phase) in [(FastMcp, "Succeeded"), (Everything, "Failed")] {
        let image = server.image(&Progress::default())?;
        world.running.cluster.load(std::slice::from_ref(&image))?;
        let image = world.running.cluster.image_reference(&image);
        // The last Pod of Node's server is removed after this time.
        let pod = json!({"terminationGracePeriodSeconds": 15});
        let mut object = object(world, &image, &json!({"pod": pod}))?;
        object["spec"]["server"]["container"]["writableSize"] = json!("1Mi");
        let work = async || {
            let mut seen = Vec::new();
            while seen.len() < EVICTIONS {
                let evicted = evict(world).await?;
                if evicted == phase {
                    return Ok(());
                }
                seen.push(evicted);
            }
            Err(format!("no Pod ended as {phase}, but as {seen:?}").into())
        };
        scratch_server::serving(world, &object, work).await?;
    }
    Ok(())
}

/// The kubelet may lose the end of a container, or end it before it could. Then the Pod is in the other phase.
const EVICTIONS: usize = 5;

/// Fills the directory, finds the kubelet's words from the object's status, and returns the phase of the evicted Pod.
async fn evict(world: &World) -> TestResult<String> {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let selector = ListParams::default().labels(&format!("app.kubernetes.io/instance={NAME}"));
    let running = selector.fields("status.phase=Running");
    let before = pods.list(&running).await?.items;
    let [pod] = before.as_slice() else {
        return Err(format!("there are {} Pods", before.len()).into());
    };
    Inside::of(world, pod, "mcp-server")?.run(FILL).await?;
    let told = wait(world, "Available=False after the eviction", |now| {
        let available = now.get("Available");
        available.is_some_and(|found| found.status == "False" && found.message.contains(" ended at "))
    })
    .await?;
    let message = &told.get("Available").ok_or("no condition Available")?.message;
    // The Pod that was evicted stays beside the one that serves.
    wait(world, "Ready", |now| now.is("Ready", "True")).await?;
    let evicted = pods.get(&pod.name_any()).await?.status.unwrap_or_default();
    let phase = evicted.phase.unwrap_or_default();
    println!("    {phase}: {message}");
    let words = match message.split_once("kubectl ") {
        Some((_, command)) => {
            let command = command.split(';').next().unwrap_or_default();
            let arguments: Vec<&str> = command.split_whitespace().collect();
            world.running.cluster.kubectl(&arguments)?
        }
        // The message quotes the words as Rust does.
        None => message.replace('\\', ""),
    };
    ensure!(words.contains(WORDS), "{message} leads to {words}");
    // The status of a next eviction would name this Pod.
    world.kubectl(&["delete", "pod", &pod.name_any(), "--wait=true"])?;
    Ok(phase)
}
