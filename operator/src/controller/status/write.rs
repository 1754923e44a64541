//! Writes the status of an object.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::conditions::{ConditionValue, set};
use crate::api::v1alpha1::conditions::{ConditionType, Status, conditions_equal};
use crate::api::v1alpha1::{McpServer, McpServerStatus};
use crate::field_manager::FIELD_MANAGER;
use behalf_contract::Reason;
use jiff::Timestamp;

/// A status that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The object changed since it was read; the next reconcile reads it again.
    #[error("the object changed meanwhile")]
    Stale,

    /// The API server did not return the status of an object that cannot be decoded.
    #[error("failed to read the status")]
    Read(#[source] Box<kube::Error>),

    /// The request failed.
    #[error("failed to write the status")]
    Request(#[source] Box<kube::Error>),
}

/// Writes a status, unless the object has it already. Returns the resource version that the object then has.
pub async fn write(
    client: &Client,
    server: &McpServer,
    status: &McpServerStatus,
) -> Result<Option<String>, StatusError> {
    if server
        .status
        .as_ref()
        .is_some_and(|current| same(current, status))
    {
        return Ok(None);
    }
    let api: Api<McpServer> = Api::namespaced(client.clone(), &server.namespace().unwrap_or_default());
    apply(
        &api,
        &server.name_any(),
        server.resource_version().as_deref(),
        status,
    )
    .await
    .map(|written| Some(written.resource_version().unwrap_or_default()))
}

/// Applies a status and returns the object as it is then. What an earlier status said and this one does not disappears. The
/// resource version makes the API server refuse the request if the object changed or was replaced by another one of the same name.
pub(super) async fn apply<K>(
    api: &Api<K>,
    name: &str,
    resource_version: Option<&str>,
    status: &impl Serialize,
) -> Result<K, StatusError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let patch = json!({
        "apiVersion": "behalf.dev/v1alpha1",
        "kind": "McpServer",
        "metadata": {"name": name, "resourceVersion": resource_version},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(name, &parameters, &Patch::Apply(&patch)).await {
        Ok(written) => Ok(written),
        Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_not_found() => {
            Err(StatusError::Stale)
        }
        Err(error) => Err(StatusError::Request(Box::new(error))),
    }
}

/// Returns whether two statuses say the same.
pub(super) fn same(left: &McpServerStatus, right: &McpServerStatus) -> bool {
    let without_conditions = |status: &McpServerStatus| McpServerStatus {
        conditions: Vec::new(),
        ..status.clone()
    };
    conditions_equal(&left.conditions, &right.conditions)
        && without_conditions(left) == without_conditions(right)
}

/// Returns the previous status with the condition that a step failed. The generation does not count as observed.
pub fn with_failed_step(server: &McpServer, message: &str, now: Timestamp) -> McpServerStatus {
    let mut status = server.status.clone().unwrap_or_default();
    add_failed_step(&mut status, server, message, now);
    status
}

/// Adds the condition that a step failed to a status.
pub fn add_failed_step(status: &mut McpServerStatus, server: &McpServer, message: &str, now: Timestamp) {
    let message = format!("{message}; it is tried again by itself");
    let value = ConditionValue::new(Status::True, Reason::StepFailed, message);
    let previous = server
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let generation = server.metadata.generation.unwrap_or_default();
    set(
        &mut status.conditions,
        previous,
        ConditionType::Reconciling,
        &value,
        generation,
        now,
    );
}
