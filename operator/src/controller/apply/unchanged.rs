//! Decides whether applying a child would change it.
//!
//! Server-side apply of an unchanged object writes nothing either, but asks the API server each time. A child
//! counts as unchanged if it contains all fields that would be applied, and if the last apply had the same content: a field
//! that is no longer applied must be removed once.

use behalf_contract::digest;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::controller::names;

/// Adds the digest of the applied content to the child, as an annotation.
pub(super) fn stamp<K: Resource + Serialize>(child: &mut K) -> Result<(), serde_json::Error> {
    let digest = digest::format_sha256(&Sha256::digest(serde_json::to_vec(child)?).into());
    child
        .annotations_mut()
        .insert(names::APPLIED_ANNOTATION.to_owned(), digest);
    Ok(())
}

/// Returns whether `live` contains every field of the stamped `child` with the same value.
pub(super) fn is_within<K: Serialize>(child: &K, live: &K) -> Result<bool, serde_json::Error> {
    Ok(contains(
        &serde_json::to_value(live)?,
        &serde_json::to_value(child)?,
    ))
}

/// Returns whether `live` carries the same stamp as `child`: the last apply had the same content.
pub(super) fn same_stamp<K: Resource>(child: &K, live: &K) -> bool {
    let stamp = |object: &K| object.annotations().get(names::APPLIED_ANNOTATION).cloned();
    stamp(child).is_some() && stamp(child) == stamp(live)
}

/// Returns whether `live` contains `wanted`. An object may contain more members, because the API server adds defaults. Lists
/// must be equal in length.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            live.get(key)
                .map_or_else(|| is_empty(wanted), |live| contains(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| contains(live, wanted))
        }
        _ => live == wanted,
    }
}

/// Returns whether a value is empty. The API server leaves out empty values.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(array) => array.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::equal(json!({"a": [1]}), json!({"a": [1]}), true)]
    #[case::defaults_of_the_api_server(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}), true)]
    #[case::a_changed_value(json!({"a": 2}), json!({"a": 1}), false)]
    #[case::a_missing_value(json!({}), json!({"a": 1}), false)]
    #[case::a_longer_list(json!({"a": [1, 2]}), json!({"a": [1]}), false)]
    #[case::an_empty_value_is_left_out(json!({}), json!({"a": {}, "b": [], "c": null}), true)]
    fn finds(#[case] live: Value, #[case] wanted: Value, #[case] unchanged: bool) {
        assert_eq!(contains(&live, &wanted), unchanged);
    }

    #[test]
    fn a_field_that_is_no_longer_applied_is_a_change() {
        use k8s_openapi::api::core::v1::ConfigMap;
        let mut before: ConfigMap =
            serde_json::from_value(json!({"metadata": {}, "data": {"a": "1", "b": "2"}})).unwrap();
        let mut after: ConfigMap =
            serde_json::from_value(json!({"metadata": {}, "data": {"a": "1"}})).unwrap();
        stamp(&mut before).unwrap();
        stamp(&mut after).unwrap();
        assert!(is_within(&before, &before).unwrap());
        assert!(!is_within(&after, &before).unwrap());
    }
}
