//! Logins and calls while the Pods behind the gateway are replaced.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, wait_available};
use behalf_simulators::people::{EVERYBODY, Person};
use behalf_tests::limits::LIMIT;
use futures::future::join;
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use super::{Gateway, access_token, behind_a_gateway};
use crate::ensure;
use crate::scratch_server::{NAME, sessions_in_redis};
use crate::world::{TestResult, World};

crate::tests![Scratch: [
    two_hundred_logins_and_all_calls_succeed_during_a_rolling_restart_of_three_replicas,
]];

/// Logins during rolling restarts, and how many of them run at once.
const LOGINS: usize = 200;
const PARALLEL: usize = 20;

/// Maximum time of one rolling restart.
const ROLLED_OUT: Duration = Duration::from_mins(3);

/// Regression: `toolhive#6378`, a rolling restart that ended sessions; `mcp-hangar#877`, logins that failed on three replicas;
/// `toolhive docs (ClientIP affinity)`, replicas that only one address at a time could use.
async fn two_hundred_logins_and_all_calls_succeed_during_a_rolling_restart_of_three_replicas(
    world: &World,
) -> TestResult {
    behind_a_gateway(world, sessions_in_redis(world)?, LIMIT, async |gateway| {
        let http = gateway.http()?;
        // A user has at most 64 sessions, so that the oldest ones end during this test.
        let newest = RefCell::new(access_token(&gateway.sign_in(&EVERYBODY[0]).await?).await?);
        let deployments: Api<Deployment> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
        let (ended, failures) = (Cell::new(false), RefCell::new(Vec::new()));
        let logins = async {
            let mut logins = stream::iter(EVERYBODY.iter().cycle().take(LOGINS))
                .map(|person| login_and_call(gateway, person))
                .buffer_unordered(PARALLEL);
            while let Some(login) = logins.next().await {
                match login {
                    Ok(token) => drop(newest.replace(token)),
                    Err(error) => failures.borrow_mut().push(format!("login: {error}")),
                }
            }
            ended.set(true);
        };
        // The Pods are replaced as long as there are logins, however long these take.
        let restarts = async {
            let mut number = 0_u32;
            while !ended.get() {
                deployments.restart(NAME).await?;
                wait_available(&world.running.client, NAMESPACE_SERVERS, NAME, ROLLED_OUT).await?;
                number += 1;
            }
            TestResult::Ok(number)
        };
        let calls = async {
            let mut number = 0_u32;
            while !ended.get() {
                let token = newest.borrow().clone();
                if let Err(error) = gateway.call_succeeds(&http, &token).await {
                    failures.borrow_mut().push(format!("call {number}: {error}"));
                }
                number += 1;
            }
            number
        };
        let began = Instant::now();
        let (((), restarts), calls) = join(join(logins, restarts), calls).await;
        let (restarts, failures) = (restarts?, failures.into_inner());
        println!(
            "    {LOGINS} logins and {calls} calls during {restarts} rolling restarts in {} s: {} failures",
            began.elapsed().as_secs(),
            failures.len()
        );
        ensure!(
            failures.is_empty(),
            "{} failures: {:#?}",
            failures.len(),
            &failures[..failures.len().min(10)]
        );
        Ok(())
    })
    .await
}

/// One login, and a call with its token. Returns the token.
async fn login_and_call(gateway: &Gateway<'_>, person: &Person) -> TestResult<String> {
    let token = access_token(&gateway.sign_in(person).await?).await?;
    gateway.call_succeeds(&gateway.http()?, &token).await?;
    Ok(token)
}
