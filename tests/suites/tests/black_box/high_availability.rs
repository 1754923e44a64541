//! Two replicas and Redis: nobody is signed out when Pods are replaced.

use std::cell::Cell;
use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_SERVERS, Server, wait_available};
use behalf_simulators::people::{ANA, BEN, CAROL, Person};
use futures::future::join;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
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
