//! Reads the conditions of an `McpServer`, and waits for them.

use std::time::Duration;

use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::{EnvironmentError, NAMESPACE_SERVERS};

/// One condition of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionLine {
    /// For example `FederationVerified`.
    pub kind: String,

    /// `True`, `False` or `Unknown`.
    pub status: String,

    /// The reason.
    pub reason: String,

    /// The message.
    pub message: String,

    /// The generation of the object that it describes.
    pub observed_generation: i64,
}

/// The conditions and the status of an `McpServer`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// `metadata.generation`.
    pub generation: i64,

    /// `status.observedGeneration`.
    pub observed_generation: i64,

    /// All conditions, in the order of the status.
    pub all: Vec<ConditionLine>,

    /// The whole status.
    pub status: Value,
}

impl Conditions {
    /// Reads an object's status now.
    pub async fn read(client: &Client, name: &str) -> Result<Self, EnvironmentError> {
        Self::read_in(client, NAMESPACE_SERVERS, name).await
    }

    /// Reads the status of an object in another namespace now.
    pub async fn read_in(client: &Client, namespace: &str, name: &str) -> Result<Self, EnvironmentError> {
        let object = servers(client, namespace)
            .get(name)
            .await
            .map_err(EnvironmentError::api(format!("read McpServer {name}")))?;
        Ok(Self::of(&object))
    }

    fn of(object: &DynamicObject) -> Self {
        let status = object.data.get("status").cloned().unwrap_or_default();
        let text = |value: &Value, key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let number = |value: &Value| {
            value
                .get("observedGeneration")
                .and_then(Value::as_i64)
                .unwrap_or(-1)
        };
        let all = status
            .get("conditions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|condition| ConditionLine {
                kind: text(condition, "type"),
                status: text(condition, "status"),
                reason: text(condition, "reason"),
                message: text(condition, "message"),
                observed_generation: number(condition),
            })
            .collect();
        Self {
            generation: object.metadata.generation.unwrap_or_default(),
            observed_generation: number(&status),
            all,
            status,
        }
    }

    /// The condition of this type.
    pub fn get(&self, kind: &str) -> Option<&ConditionLine> {
        self.all.iter().find(|condition| condition.kind == kind)
    }

    /// Whether the condition has this status at the object's present generation.
    pub fn is(&self, kind: &str, status: &str) -> bool {
        self.observed_generation == self.generation
            && self.get(kind).is_some_and(|condition| condition.status == status)
    }

    /// One line: every condition with its status and, unless true, its reason.
    pub fn summary(&self) -> String {
        let line = |condition: &ConditionLine| match condition.status.as_str() {
            "True" => format!("{}=True", condition.kind),
            status => format!("{}={status} ({})", condition.kind, condition.reason),
        };
        match self.all.as_slice() {
            [] => "no conditions yet".to_owned(),
            all => all.iter().map(line).collect::<Vec<_>>().join(", "),
        }
    }
}

fn servers(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("behalf.dev", "v1alpha1", "McpServer"));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Waits until the object's conditions satisfy `wanted`. Calls `seen` at each change.
pub async fn wait_for(
    client: &Client,
    name: &str,
    what: &str,
    limit: Duration,
    seen: impl FnMut(&Conditions),
    wanted: impl Fn(&Conditions) -> bool,
) -> Result<Conditions, EnvironmentError> {
    wait_in(client, NAMESPACE_SERVERS, name, what, limit, seen, wanted).await
}

/// Waits like [`wait_for`] for an object in another namespace.
pub async fn wait_in(
    client: &Client,
    namespace: &str,
    name: &str,
    what: &str,
    limit: Duration,
    mut seen: impl FnMut(&Conditions),
    wanted: impl Fn(&Conditions) -> bool,
) -> Result<Conditions, EnvironmentError> {
    let started = tokio::time::Instant::now();
    let mut last = Conditions::default();
    loop {
        let now = Conditions::read_in(client, namespace, name).await?;
        if now.all != last.all {
            seen(&now);
        }
        if wanted(&now) {
            return Ok(now);
        }
        last = now;
        if started.elapsed() > limit {
            return Err(EnvironmentError::TimedOut {
                what: format!("{name}: {what}"),
                seconds: limit.as_secs(),
                seen: last.summary(),
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
