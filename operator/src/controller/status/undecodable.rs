//! The status of an object that cannot be decoded. The operator changes it as JSON, because the status may be the part
//! that this version cannot read.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::StatusError;
use super::conditions::{ConditionValue, set};
use super::write::apply;
use crate::api::v1alpha1::McpServer;
use crate::api::v1alpha1::conditions::{ConditionType, Status};
use crate::controller::names;
use behalf_contract::Reason;

/// Writes into the status of an object that it cannot be read, unless the status says so already. The message names the
/// decoder's error and the fix. True when something was written.
pub async fn write_undecodable(
    client: &Client,
    object: &DeserializeGuard<McpServer>,
    message: &str,
    now: Timestamp,
) -> Result<bool, StatusError> {
    let metadata = object.meta();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let kind = ApiResource::erase::<McpServer>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    // The watches need the right to list objects, so that no right to get one is needed.
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = api
        .list(&named)
        .await
        .map_err(|error| StatusError::Read(Box::new(error)))?;
    let Some(current) = found.items.into_iter().next() else {
        return Ok(false);
    };
    let status = current.data.get("status").and_then(Value::as_object);
    let before = status.cloned().unwrap_or_default();
    let after = with_error(
        before.clone(),
        message,
        metadata.generation.unwrap_or_default(),
        names::request(object, names::RECONCILE_ANNOTATION),
        now,
    );
    if after == before {
        return Ok(false);
    }
    let version = metadata.resource_version.as_deref();
    apply(&api, &name, version, &after).await.map(|_| true)
}

/// Returns the status with the error. It keeps what the error does not contradict: the Pods go on as before, and the
/// next version that can read the object finds the keys that they use.
pub(super) fn with_error(
    mut status: Map<String, Value>,
    message: &str,
    generation: i64,
    reconcile_request: Option<String>,
    now: Timestamp,
) -> Map<String, Value> {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let previous: Vec<_> = conditions
        .into_iter()
        .flatten()
        .filter_map(|condition| Condition::deserialize(condition).ok())
        .collect();
    let mut conditions = previous.clone();
    // The operator does nothing for the object until it is edited.
    conditions.retain(|condition| condition.type_ != ConditionType::Reconciling.as_str());
    for (kind, is) in [
        (ConditionType::Accepted, Status::False),
        (ConditionType::Ready, Status::False),
        (ConditionType::Stalled, Status::True),
    ] {
        let value = ConditionValue::new(is, Reason::Undecodable, message);
        set(&mut conditions, &previous, kind, &value, generation, now);
    }
    status.insert("observedGeneration".to_owned(), json!(generation));
    status.insert("conditions".to_owned(), json!(conditions));
    if let Some(request) = reconcile_request {
        status.insert("lastHandledReconcileAt".to_owned(), json!(request));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requested_reconcile_is_answered_and_an_earlier_answer_stays() {
        let answered = |status: Map<String, Value>, request: Option<&str>| {
            let status = with_error(
                status,
                "unreadable",
                2,
                request.map(str::to_owned),
                Timestamp::UNIX_EPOCH,
            );
            (status["lastHandledReconcileAt"].clone(), status)
        };
        let (first, status) = answered(Map::new(), Some("10:00"));
        assert_eq!(first, "10:00");
        assert_eq!(answered(status, None).0, "10:00");
    }
}
