//! Two replicas and Redis: nobody is signed out when Pods are replaced, replicas are added or Redis restarts.

use std::cell::Cell;
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, Server, wait_available};
use behalf_simulators::people::{ANA, BEN, CAROL, Person};
use futures::future::join;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::credentials::restarts;
use crate::ensure;
use crate::faults::call;
use crate::inside::Inside;
use crate::world::{TestResult, World};

crate::tests![Article: [
    logins_and_calls_during_a_rolling_restart_all_succeed,
    a_restart_of_redis_ends_no_session,
    the_scale_subresource_sets_the_number_of_pods,
]];

const PEOPLE: [Person; 3] = [ANA, BEN, CAROL];

/// Logins during a rolling restart, and how many of them run at once.
const LOGINS: usize = 40;
const PARALLEL: usize = 8;

/// Maximum time of a rolling restart, and of a restart of Redis.
const LIMIT: Duration = Duration::from_mins(3);

/// Regression: `toolhive#6378`, a rolling restart that ended sessions; `mcp-hangar#877`, logins that failed on three replicas.
async fn logins_and_calls_during_a_rolling_restart_all_succeed(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let mut tokens = Vec::new();
    for person in PEOPLE {
        tokens.push(world.access_token(server, &person).await?);
    }

    world.kubectl(&["rollout", "restart", "deployment", server.name()])?;
    let ended = Cell::new(false);
    let restart = async {
        let logins = stream::iter(PEOPLE.iter().cycle().take(LOGINS))
            .map(|person| world.access_token(server, person))
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>();
        let rolled_out = wait_available(&world.running.client, NAMESPACE_SERVERS, server.name(), LIMIT);
        let (rolled_out, logins) = join(rolled_out, logins).await;
        ended.set(true);
        rolled_out?;
        logins
    };
    let calls = async {
        let mut number = 0_u32;
        for token in tokens.iter().cycle() {
            let status = call(world, server, token).await?.status();
            ensure!(
                status == StatusCode::OK,
                "call {number} during the restart was answered {status}"
            );
            number += 1;
            if ended.get() {
                break;
            }
        }
        TestResult::Ok(number)
    };
    let (logins, calls) = join(restart, calls).await;
    let (logins, calls) = (logins?.len(), calls?);
    ensure!(logins == LOGINS, "{logins} of {LOGINS} logins ended");
    ensure!(calls >= 10, "only {calls} calls in a whole restart");
    world.wait_settled(server).await.map(drop)
}

async fn a_restart_of_redis_ends_no_session(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let signed_in = world.sign_in(server, &ANA).await?;
    let token = signed_in.manager().lock().await.get_access_token().await?;
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let before = pods.get("redis-0").await?;
    ensure!(
        call(world, server, &token).await?.status() == StatusCode::OK,
        "the session does not work to begin with"
    );

    // The ephemeral container shares the processes of Redis, so it ends with it.
    drop(Inside::of(world, &before, "redis")?.run("kill -TERM 1").await);
    let began = Instant::now();
    loop {
        let answer = call(world, server, &token).await?;
        let status = answer.status();
        let retry = answer.headers().contains_key("retry-after");
        ensure!(
            status == StatusCode::OK || (status == StatusCode::SERVICE_UNAVAILABLE && retry),
            "while Redis restarts a call was answered {status}, with Retry-After: {retry}"
        );
        let restarted = restarts(&pods.get("redis-0").await?) > restarts(&before);
        if restarted && status == StatusCode::OK {
            break;
        }
        ensure!(
            began.elapsed() < LIMIT,
            "Redis did not come back, or the session did not"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The other Pod may still pause before it connects again. Then the client tries again, with the same token.
    loop {
        let refreshed = signed_in.manager().lock().await.refresh_token().await;
        let Err(error) = refreshed else { break };
        let error = error.to_string();
        ensure!(
            error.contains("temporarily_unavailable") && began.elapsed() < LIMIT,
            "after Redis came back a refresh was answered: {error}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.remember_tokens(&signed_in).await?;
    // The next test must not see the end of this outage in the conditions.
    world.wait_settled(server).await?;
    world
        .wait(server, "SessionsDurable=True", |now| {
            now.is("SessionsDurable", "True")
        })
        .await
        .map(drop)
}

/// A `HorizontalPodAutoscaler` reads and writes the same subresource.
async fn the_scale_subresource_sets_the_number_of_pods(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let token = world.access_token(server, &BEN).await?;
    for replicas in [3, 2] {
        let wanted = format!("--replicas={replicas}");
        world.kubectl(&["scale", "mcpserver", server.name(), &wanted])?;
        wait_pods(world, server, replicas).await?;
        let status = call(world, server, &token).await?.status();
        ensure!(
            status == StatusCode::OK,
            "with {replicas} Pods a call was answered {status}"
        );
    }
    world.wait_settled(server).await.map(drop)
}

/// Waits until the scale subresource reports this number of Pods and its selector finds as many.
async fn wait_pods(world: &World, server: Server, replicas: usize) -> TestResult {
    let began = Instant::now();
    loop {
        let path = format!(
            "/apis/behalf.dev/v1alpha1/namespaces/{NAMESPACE_SERVERS}/mcpservers/{}/scale",
            server.name()
        );
        let scale: Value = serde_json::from_str(&world.kubectl(&["get", "--raw", &path])?)?;
        let selector = scale
            .pointer("/status/selector")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure!(
            !selector.is_empty(),
            "the scale subresource has no selector: {scale}"
        );
        let pods = world.kubectl(&["get", "pods", "--selector", selector, "--output", "name"])?;
        if scale.pointer("/status/replicas") == Some(&json!(replicas)) && pods.lines().count() == replicas {
            return Ok(());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "with {replicas} wanted the scale subresource said {scale}, and the Pods were {pods}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
