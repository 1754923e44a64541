//! A signed-in user who calls the tools of a Pod.

use behalf_contract::{ExchangePlace, Injection};
use behalf_simulators::azure_devops::{Calls, Fault};
use serde_json::{Value, json};

use crate::support::{Answer, Pod, World};

/// A user whose token the sidecar exchanged and sends in `Authorization`.
pub(crate) struct User {
    pub(crate) world: World,
    pub(crate) pod: Pod,
    pub(crate) token: String,
}

impl User {
    pub(crate) async fn sign_in(name: &str) -> Self {
        let world = World::start().await;
        let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
        let token = world.azure_token(name).await;
        Self { world, pod, token }
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.pod.call(&self.token, tool, arguments).await
    }

    /// Lists one run.
    pub(crate) async fn list(&self) -> Answer {
        self.call("list_pipeline_runs", json!({"top": 1})).await
    }

    /// Queues a run.
    pub(crate) async fn trigger(&self) -> Answer {
        self.call("trigger_pipeline_run", json!({"pipeline_id": 178}))
            .await
    }

    pub(crate) async fn failures_of(&self, run: u32) -> Answer {
        self.call("get_run_failure_logs", json!({"run_id": run})).await
    }

    /// Adds a fault to Azure DevOps.
    pub(crate) async fn fault(&self, fault: Fault) {
        self.world.azure().fault(&fault).await.unwrap();
    }

    /// Returns the number of requests that reached Azure DevOps.
    pub(crate) async fn requests(&self) -> usize {
        self.world.azure().record().await.unwrap().len()
    }
}

/// Selects the requests that change something.
pub(crate) fn writes() -> Calls {
    Calls::default().with_method("POST")
}

/// Returns the member `id` of each item.
pub(crate) fn ids(list: &Value, id: &str) -> Vec<i64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item[id].as_i64().unwrap())
        .collect()
}
