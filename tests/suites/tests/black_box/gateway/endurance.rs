//! The fault run: 50 sessions call through the gateway while everything behind it is replaced.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::behind_a_gateway;
use super::faults::{self, Releases};
use super::redis_pair::RedisPair;
use super::sessions::{self, Calls};
use super::tally::Tally;
use behalf_tests::limits::{LIMIT, restoring_within};

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![no_session_is_lost_while_pods_keys_the_operator_and_redis_are_replaced];

/// Number of sessions that call at once.
const SESSIONS: usize = 50;

/// Minimum number of rotations that end in a run of the whole duration.
const ROTATIONS: usize = 2;

/// Minimum duration of the fault run. Without `BEHALF_TEST_ENDURANCE` each fault happens once.
pub(crate) fn duration() -> Duration {
    let seconds = std::env::var("BEHALF_TEST_ENDURANCE").ok();
    Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0))
}

/// Regression: `toolhive#6378`, a restart that ended sessions.
async fn no_session_is_lost_while_pods_keys_the_operator_and_redis_are_replaced(world: &World) -> TestResult {
    let releases = Releases::load(world)?;
    let work = async {
        let redis = RedisPair::start(world).await?;
        within_the_rate_limit(world, calls_go_on(world, &releases, &redis)).await
    };
    let restore = async {
        let restored = faults::restore(world, &releases).await;
        restored.and(RedisPair::remove(world))
    };
    restoring_within(limit(0), work, restore).await
}

/// The maximum duration of the work that has this many guards around it, of which the run has three. An inner guard ends
/// first, so that the outer ones do not drop what it restores.
fn limit(guards: u32) -> Duration {
    LIMIT + duration() + Duration::from_mins(2) * (2 - guards)
}

/// The sessions belong to three users. Azure DevOps takes 4,000 calls from a user in five minutes, so here calls are free.
async fn within_the_rate_limit(world: &World, work: impl Future<Output = TestResult>) -> TestResult {
    let before = world.azure_devops.settings().await?;
    let mut free = before;
    free.rate_limit.cost_milli_tstu = 0;
    let work = async {
        world.azure_devops.change_settings(&free).await?;
        work.await
    };
    let restore = async { Ok(world.azure_devops.change_settings(&before).await?) };
    restoring_within(limit(1), work, restore).await
}

async fn calls_go_on(world: &World, releases: &Releases, redis: &RedisPair<'_>) -> TestResult {
    behind_a_gateway(world, redis.sessions()?, limit(2), async |gateway| {
        faults::are_spread(world)?;
        let sessions = sessions::sign_in(gateway, SESSIONS).await?;
        let tally = Arc::new(Tally::new());
        let calls = Calls::begin(&sessions, &tally);
        let replaced = replace_everything(world, releases, redis, &tally).await;
        calls.end().await;
        let counts = tally.counts();
        println!("    {SESSIONS} sessions: {counts}");
        let replaced = replaced?;
        println!("    {replaced}");
        // A run in which each fault happens once has too few answers for one in a thousand: there each session may get one
        // 503 for each outage of Redis, and the tests beside it make the machine busy.
        let is_whole = !duration().is_zero();
        let once = if is_whole { 0 } else { SESSIONS };
        counts.are_allowed(once * replaced.outages_of_redis(), once)?;
        gateway.every_503_says_when_to_try_again().await?;
        ensure!(
            !is_whole || replaced.rotations >= ROTATIONS,
            "the keys were rotated {} times, not {ROTATIONS} times",
            replaced.rotations
        );
        for session in &sessions {
            session.still_works(gateway).await?;
        }
        Ok(())
    })
    .await
}

/// The faults of a run that ended well.
#[derive(Default)]
struct Replaced {
    rotations: usize,
    deleted_pods: usize,
    operator_upgrades: usize,
    sidecar_upgrades: usize,
    drained_nodes: usize,
    redis_restarts: usize,
    redis_fail_overs: usize,
}

impl Replaced {
    fn outages_of_redis(&self) -> usize {
        self.redis_restarts + self.redis_fail_overs
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "replaced: {} rotations of the keys, {} deleted Pods, {} upgrades of the operator, {} of the sidecar, \
             {} drained nodes, {} restarts of Redis, {} fail-overs",
            self.rotations,
            self.deleted_pods,
            self.operator_upgrades,
            self.sidecar_upgrades,
            self.drained_nodes,
            self.redis_restarts,
            self.redis_fail_overs
        )
    }
}

/// Makes the faults one after the other: once, or until the duration has passed. The keys rotate meanwhile.
async fn replace_everything(
    world: &World,
    releases: &Releases,
    redis: &RedisPair<'_>,
    tally: &Tally,
) -> TestResult<Replaced> {
    let began = Instant::now();
    let mut replaced = Replaced::default();
    loop {
        tally.begin("the keys rotate");
        let key = faults::request_rotation(world).await?;
        tally.begin("a Pod is deleted");
        faults::delete_a_pod(world).await?;
        replaced.deleted_pods += 1;
        tally.begin("the operator is upgraded");
        faults::upgrade_operator(world, releases).await?;
        replaced.operator_upgrades += 1;
        // Kubernetes waits longer before each further restart of a container, so that the outage would grow.
        if replaced.redis_restarts == 0 {
            tally.begin("Redis restarts");
            redis.restart().await?;
            replaced.redis_restarts += 1;
        }
        tally.begin("Redis fails over");
        redis.fail_over(replaced.redis_fail_overs % 2 == 1).await?;
        replaced.redis_fail_overs += 1;
        tally.begin("the sidecar is upgraded");
        faults::upgrade_sidecar(world, releases).await?;
        replaced.sidecar_upgrades += 1;
        tally.begin("a node is drained");
        faults::drain_a_node(world).await?;
        replaced.drained_nodes += 1;
        tally.begin("the rotation ends");
        faults::wait_rotated(world, &key).await?;
        replaced.rotations += 1;
        if began.elapsed() >= duration() {
            return Ok(replaced);
        }
    }
}
