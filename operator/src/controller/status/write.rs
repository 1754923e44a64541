//! Writes the status of an object.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::conditions::{Finding, Status, conditions_equal, set};
use crate::api::v1alpha1::{McpServer, McpServerStatus};
use crate::controller::names::FIELD_MANAGER;
use crate::controller::status::ConditionType;
use behalf_contract::Reason;
use jiff::Timestamp;

/// A status that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The object changed since it was read; the next reconcile reads it again.
    #[error("the object changed meanwhile")]
    Stale,

    /// The request failed.
    #[error("failed to write the status")]
    Request(#[source] Box<kube::Error>),
}

/// Writes a status, unless the object has it already. True when something was written.
pub async fn write(
    client: &Client,
    server: &McpServer,
    status: &McpServerStatus,
) -> Result<bool, StatusError> {
    if server
        .status
        .as_ref()
        .is_some_and(|current| same(current, status))
    {
        return Ok(false);
    }
    let api: Api<McpServer> = Api::namespaced(client.clone(), &server.namespace().unwrap_or_default());
    // A server-side apply removes fields that are no longer set. With the resource version, a reconcile of an
    // old copy can neither replace a newer status nor write to another object of the same name.
    let patch = json!({
        "apiVersion": "behalf.dev/v1alpha1",
        "kind": "McpServer",
        "metadata": {"name": server.name_any(), "resourceVersion": server.resource_version()},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api
        .patch_status(&server.name_any(), &parameters, &Patch::Apply(&patch))
        .await
    {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_not_found() => {
            Err(StatusError::Stale)
        }
        Err(error) => Err(StatusError::Request(Box::new(error))),
    }
}

fn same(left: &McpServerStatus, right: &McpServerStatus) -> bool {
    let without_conditions = |status: &McpServerStatus| McpServerStatus {
        conditions: Vec::new(),
        ..status.clone()
    };
    conditions_equal(&left.conditions, &right.conditions)
        && without_conditions(left) == without_conditions(right)
}

/// Returns the previous status with the condition that a step failed. The generation does not count as observed.
pub fn with_failed_step(server: &McpServer, message: &str, now: Timestamp) -> McpServerStatus {
    let message = format!("{message}; it is tried again by itself");
    let finding = Finding::new(Status::True, Reason::StepFailed, message);
    let mut status = server.status.clone().unwrap_or_default();
    let previous = status.conditions.clone();
    let generation = server.metadata.generation.unwrap_or_default();
    set(
        &mut status.conditions,
        &previous,
        ConditionType::Reconciling,
        &finding,
        generation,
        now,
    );
    status
}
