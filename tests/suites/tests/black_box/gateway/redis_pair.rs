//! A primary of Redis and its replica behind one Service, as an operator of Valkey or a managed Redis presents them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::REPLICAS;
use crate::ensure;
use crate::redis_pods::{ADMINISTRATOR, Address, RedisPods};
use crate::scratch_server;
use crate::world::{TestResult, World};

/// The name of the `StatefulSet` and of the Service.
const NAME: &str = "redis-pair";

/// Maximum time until a replica has everything, or until the sidecars use another primary.
const LIMIT: Duration = Duration::from_mins(1);

/// Two servers. The Service leads to the primary.
pub(super) struct RedisPair<'w> {
    pods: RedisPods<'w>,
    primary: Cell<usize>,
}

impl<'w> RedisPair<'w> {
    pub(super) async fn start(world: &'w World) -> TestResult<Self> {
        let arguments = [
            "--tls-replication yes",
            "--tls-ca-cert-file /etc/redis/tls/ca.crt",
            "--repl-diskless-sync-delay 0",
        ];
        let pair = Self {
            pods: RedisPods::start(world, NAME, 2, Address::Pod(0), &arguments, "").await?,
            primary: Cell::new(0),
        };
        pair.replicate(0, 1).await?;
        Ok(pair)
    }

    pub(super) fn remove(world: &World) -> TestResult {
        RedisPods::remove(world, NAME)
    }

    /// The field `sessions` of the object `scratch`.
    pub(super) fn sessions(&self) -> TestResult<Value> {
        self.pods.sessions("Standalone")
    }

    /// Ends the primary, and waits until it runs again with its data.
    pub(super) async fn restart(&self) -> TestResult {
        let primary = self.primary.get();
        self.pods.restart(primary).await?;
        self.replicates(1 - primary).await
    }

    /// Promotes the replica while users call. Writes that the old primary gets meanwhile are lost. With `cuts` it closes all
    /// connections, as a managed Redis does. Otherwise it stays reachable over the connections that the sidecars have, and
    /// answers READONLY to their writes.
    pub(super) async fn fail_over(&self, cuts: bool) -> TestResult {
        let (old, new) = (self.primary.get(), 1 - self.primary.get());
        self.replicates(new).await?;
        self.pods.ask(new, &["REPLICAOF", "NO", "ONE"])?;
        self.pods.lead_to(new).await?;
        self.primary.set(new);
        if cuts {
            for kind in ["normal", "pubsub"] {
                self.pods.ask(old, &["CLIENT", "KILL", "TYPE", kind])?;
            }
        }
        self.replicate(new, old).await?;
        self.is_used(new).await
    }

    async fn replicate(&self, primary: usize, replica: usize) -> TestResult {
        let (user, password) = ADMINISTRATOR;
        self.pods.ask(
            replica,
            &["CONFIG", "SET", "masteruser", user, "masterauth", password],
        )?;
        let address = self.pods.ip(primary)?;
        self.pods.ask(replica, &["REPLICAOF", &address, "6379"])?;
        self.replicates(replica).await
    }

    /// Waits until this replica follows its primary.
    async fn replicates(&self, replica: usize) -> TestResult {
        let follows = || {
            let information = self.pods.ask(replica, &["INFO", "replication"])?;
            TestResult::Ok(information.contains("master_link_status:up"))
        };
        wait(follows, "the replica does not follow its primary").await
    }

    /// Waits until the sidecars have left the old primary for this one.
    async fn is_used(&self, primary: usize) -> TestResult {
        let user = format!(" user={} ", scratch_server::NAME);
        let connected = || {
            let clients = self.pods.ask(primary, &["CLIENT", "LIST"])?;
            TestResult::Ok(clients.matches(&user).count() >= REPLICAS)
        };
        wait(connected, "a sidecar does not use the new primary").await
    }
}

async fn wait(is_so: impl Fn() -> TestResult<bool>, otherwise: &str) -> TestResult {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < LIMIT, "{otherwise}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
