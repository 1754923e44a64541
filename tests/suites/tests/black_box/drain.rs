//! A Pod stops while it answers.

use std::time::{Duration, Instant};

use behalf_demo::environment::Server;
use behalf_demo::mcp_client::call_with_token;
use behalf_simulators::azure_devops::{Action, Calls, Fault};
use behalf_simulators::people::CAROL;
use reqwest::StatusCode;
use reqwest::header::CONNECTION;
use serde_json::json;

use crate::ensure;
use crate::scratch_server::{self, NAME, mcp_url, serving, sign_in};
use crate::world::{TestResult, World};

crate::tests![Scratch: [an_answer_that_is_open_when_its_pod_stops_is_finished_after_the_hooks_have_run]];

/// Azure DevOps answers after this time. The server waits for ten seconds before it stops, so that the answer also outlives the
/// server's signal.
const SLOW: Duration = Duration::from_secs(16);

/// Maximum time until something has begun.
const LIMIT: Duration = Duration::from_secs(10);

/// The line of the sidecar's `preStop` hook. Its process gets its signal after the server has ended.
const HOOK: &str = "The Pod stops: clients are asked to open connections to other Pods";

async fn an_answer_that_is_open_when_its_pod_stops_is_finished_after_the_hooks_have_run(
    world: &World,
) -> TestResult {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    let fields = json!({"server": quickstart["spec"]["server"]});
    let object = scratch_server::object(
        world,
        &format!("http://localhost:{}", scratch_server::PORT),
        &fields,
    )?;
    serving(world, &object, async || {
        let signed_in = sign_in(world, &CAROL).await?;
        let token = signed_in.manager().lock().await.get_access_token().await?;
        let selector = format!("app.kubernetes.io/instance={NAME}");
        let path = "jsonpath={.items[0].metadata.name}";
        let pod = world.kubectl(&["get", "pods", "--selector", &selector, "--output", path])?;

        let delay = Action::Delay {
            milliseconds: u64::try_from(SLOW.as_millis())?,
            retry_after_seconds: None,
        };
        let fault = Fault::once(delay).on(Calls::of(CAROL.object_id));
        world.azure_devops.fault(&fault).await?;
        let mcp = mcp_url()?;
        let open = tokio::spawn(async move { call_with_token(&mcp, &token).await });
        let began = Instant::now();
        while world.azure_devops.faults().await?.contains(&fault) {
            ensure!(began.elapsed() < LIMIT, "the call does not reach Azure DevOps");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }

        world.kubectl(&["delete", "pod", &pod, "--wait=false"])?;
        let stopped = Instant::now();
        while !world
            .kubectl(&["logs", &pod, "--container", "auth-sidecar"])?
            .contains(HOOK)
        {
            ensure!(stopped.elapsed() < LIMIT, "the hook of the sidecar did not run");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        ensure!(!open.is_finished(), "the answer came before the Pod stopped");
        let answer = open.await??;
        let (status, connection) = (answer.status(), answer.headers().get(CONNECTION).cloned());
        let body = answer.text().await?;
        ensure!(
            status == StatusCode::OK && body.contains(r#""isError":false"#),
            "{} ms after the Pod began to stop the call was answered {status}: {body:.300}",
            stopped.elapsed().as_millis()
        );
        ensure!(
            connection.as_ref().is_some_and(|value| value == "close"),
            "the client is not asked for another connection: {connection:?}"
        );
        // The hook of the server waits for ten seconds.
        ensure!(
            stopped.elapsed() > Duration::from_secs(10),
            "the answer came before the server got its signal"
        );
        Ok(())
    })
    .await
}
