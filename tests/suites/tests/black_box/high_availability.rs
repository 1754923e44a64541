//! Two replicas and Redis: nobody is signed out when Pods are replaced.

use std::cell::Cell;
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_simulators::people::{ANA, BEN, CAROL, Person};
use futures::future::join;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use reqwest::StatusCode;

use crate::ensure;
use crate::faults::call;
use crate::world::{TestResult, World};

crate::tests![Article: [
    logins_and_calls_during_a_rolling_restart_all_succeed,
]];

const PEOPLE: [Person; 3] = [ANA, BEN, CAROL];

/// Logins during a rolling restart, and how many of them run at once.
const LOGINS: usize = 40;
const PARALLEL: usize = 8;

/// Maximum time of a rolling restart.
const LIMIT: Duration = Duration::from_mins(3);

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
        let (rolled_out, logins) = join(rolled_out(world, server), logins).await;
        ended.set(true);
        rolled_out.and(logins)
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

/// Waits until every Pod is of the newest `ReplicaSet` and available.
async fn rolled_out(world: &World, server: Server) -> TestResult {
    let deployments: Api<Deployment> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let began = Instant::now();
    loop {
        let now = deployments.get(server.name()).await?;
        let wanted = now.spec.as_ref().and_then(|spec| spec.replicas);
        let status = now.status.unwrap_or_default();
        let counts = [
            status.replicas,
            status.updated_replicas,
            status.available_replicas,
        ];
        if status.observed_generation == now.metadata.generation && counts == [wanted; 3] {
            return Ok(());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "the restart did not end: {counts:?} of {wanted:?} Pods"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
