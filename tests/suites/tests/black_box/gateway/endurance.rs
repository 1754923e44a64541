//! The fault run: 50 sessions call through the gateway while everything behind it is replaced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::behind_a_gateway;
use super::faults::{self, Sidecars};
use super::redis_pair::RedisPair;
use super::sessions::{self, Calls};
use super::tally::Tally;
use crate::ensure;
use crate::guard::LIMIT;
use crate::world::{TestResult, World};

crate::tests![no_session_is_lost_while_pods_keys_the_operator_and_redis_are_replaced];

/// Number of sessions that call at once.
const SESSIONS: usize = 50;

/// Minimum duration of the fault run. Without `BEHALF_TEST_ENDURANCE` each fault happens once.
pub(crate) fn duration() -> Duration {
    let seconds = std::env::var("BEHALF_TEST_ENDURANCE").ok();
    Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0))
}

/// Regression: `toolhive#6378`, a restart that ended sessions.
async fn no_session_is_lost_while_pods_keys_the_operator_and_redis_are_replaced(world: &World) -> TestResult {
    let sidecars = Sidecars::load(world)?;
    let redis = RedisPair::start(world).await;
    let worked = match &redis {
        Ok(redis) => calls_go_on(world, &sidecars, redis).await,
        Err(error) => Err(format!("failed to start the pair of Redis: {error}").into()),
    };
    let restored = faults::restore(world, &sidecars).await;
    worked.and(restored).and(RedisPair::remove(world))
}

async fn calls_go_on(world: &World, sidecars: &Sidecars, redis: &RedisPair<'_>) -> TestResult {
    behind_a_gateway(world, redis.sessions()?, LIMIT + duration(), async |gateway| {
        let sessions = sessions::sign_in(gateway, SESSIONS).await?;
        let tally = Arc::new(Tally::new());
        let calls = Calls::begin(&sessions, &tally);
        let began = Instant::now();
        let replaced = replace_everything(world, sidecars, redis, &tally).await;
        calls.end().await;
        let counts = tally.counts();
        println!(
            "    {SESSIONS} sessions, {} s: {} calls, {} to be tried again {:?}, {} wrong, {} refreshes",
            began.elapsed().as_secs(),
            counts.calls(),
            counts.unavailable,
            counts.unavailable_by_fault,
            counts.wrong,
            counts.refreshes
        );
        replaced?;
        ensure!(
            counts.wrong == 0,
            "{} wrong answers: {:#?}",
            counts.wrong,
            counts.first_wrong
        );
        // A run in which each fault happens once has too few calls for one in a thousand: there each session may meet the
        // restart of Redis once.
        let once = if duration().is_zero() { SESSIONS as u64 } else { 0 };
        let allowed = counts.calls() / 1000 + once;
        ensure!(
            counts.unavailable <= allowed,
            "{} of {} calls had to be tried again",
            counts.unavailable,
            counts.calls()
        );
        ensure!(counts.refreshes > 0, "no session was refreshed");
        for session in &sessions {
            session.still_works(gateway).await?;
        }
        Ok(())
    })
    .await
}

/// Makes the faults one after the other: once, or until the duration has passed. The keys rotate meanwhile.
async fn replace_everything(
    world: &World,
    sidecars: &Sidecars,
    redis: &RedisPair<'_>,
    tally: &Tally,
) -> TestResult {
    let began = Instant::now();
    let mut restarts_redis = true;
    loop {
        tally.begin("the keys rotate");
        let key = faults::request_rotation(world).await?;
        tally.begin("a Pod is deleted");
        faults::delete_a_pod(world).await?;
        tally.begin("the operator restarts");
        faults::restart_operator(world).await?;
        // Kubernetes waits longer before each further restart of a container, so that the outage would grow.
        if std::mem::take(&mut restarts_redis) {
            tally.begin("Redis restarts");
            redis.restart().await?;
        }
        tally.begin("Redis fails over");
        redis.fail_over().await?;
        tally.begin("the installation is upgraded");
        faults::upgrade(world, sidecars).await?;
        tally.begin("a node is drained");
        if !faults::drain_a_node(world).await? {
            println!("    there is one node, so none is drained");
        }
        tally.begin("the rotation ends");
        faults::wait_rotated(world, &key).await?;
        if began.elapsed() >= duration() {
            return Ok(());
        }
    }
}
