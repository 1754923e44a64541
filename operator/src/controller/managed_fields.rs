//! Which fields of a child this operator owns, as the API server keeps it in `metadata.managedFields`.
//!
//! A field that is no longer applied is removed only where no other entry owns it. A create or a merge patch
//! leaves an entry `Update` beside the entry `Apply` of the same manager, which would keep such a field for ever.
//! Before a created child is applied for the first time, its entry becomes an entry `Apply`. After a repair both become one,
//! and the child is applied again
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply>).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::Value;

use crate::field_manager::FIELD_MANAGER;

/// Returns whether this operator created or repaired the object and has not applied these fields yet.
pub(super) fn has_unapplied(entries: &[ManagedFieldsEntry]) -> bool {
    entries.iter().any(|entry| is_own(entry, "Update"))
}

/// Keeps of the entries only what [`has_unapplied`] needs. They are often larger than the rest of an object.
pub fn trim(entries: &mut Vec<ManagedFieldsEntry>) {
    entries.retain(|entry| is_own(entry, "Update"));
    for entry in entries {
        entry.fields_v1 = None;
    }
}

/// Returns the entries with all of this operator's merged into one entry `Apply`, or `None` if that changes
/// nothing.
pub(super) fn as_applied(entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    if !has_unapplied(entries) {
        return None;
    }
    let is_ours = |entry: &&ManagedFieldsEntry| is_own(entry, "Update") || is_own(entry, "Apply");
    let mut applied = entries.iter().find(is_ours)?.clone();
    applied.operation = Some("Apply".to_owned());
    for entry in entries.iter().filter(is_ours) {
        if let Some(fields) = &entry.fields_v1 {
            let all = applied.fields_v1.get_or_insert(FieldsV1(Value::Null));
            unite(&mut all.0, &fields.0);
        }
    }
    let others = entries.iter().filter(|entry| !is_ours(entry)).cloned();
    Some(std::iter::once(applied).chain(others).collect())
}

fn is_own(entry: &ManagedFieldsEntry, operation: &str) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some(operation)
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Merges two sets of fields. A set is a tree of objects, so the union of two sets is the union of their
/// members.
fn unite(all: &mut Value, more: &Value) {
    match (all, more) {
        (Value::Object(all), Value::Object(more)) => {
            for (key, more) in more {
                unite(all.entry(key.clone()).or_insert(Value::Null), more);
            }
        }
        (all, more) if all.is_null() => *all = more.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(
        manager: &str,
        operation: &str,
        subresource: Option<&str>,
        fields: &Value,
    ) -> ManagedFieldsEntry {
        let entry = json!({
            "manager": manager, "operation": operation, "subresource": subresource, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        });
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn entries_of_creates_and_repairs_are_merged_and_those_of_others_stay() {
        let spec = |port: &str| json!({"f:spec": {"f:ports": {port: {}}}});
        let others = [
            entry("kubectl", "Update", None, &spec("k:1")),
            entry(FIELD_MANAGER, "Update", Some("status"), &json!({"f:status": {}})),
        ];
        let mut entries = vec![
            entry(FIELD_MANAGER, "Apply", None, &spec("k:2")),
            entry(FIELD_MANAGER, "Update", None, &spec("k:3")),
        ];
        entries.extend(others.clone());
        let applied = as_applied(&entries).unwrap();
        assert_eq!(applied[0].operation.as_deref(), Some("Apply"));
        let both = json!({"f:spec": {"f:ports": {"k:2": {}, "k:3": {}}}});
        assert_eq!(applied[0].fields_v1.as_ref().unwrap().0, both);
        assert_eq!(applied[1..], others);
        assert_eq!(as_applied(&applied), None, "nothing is left to do");
    }
}
