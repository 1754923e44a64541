//! Builds the `ConfigMap` with the revocations.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{BuildError, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

/// The file inside the `ConfigMap`.
pub(super) const REVOCATIONS_KEY: &str = "revocations.json";

/// The file that the sidecar reads again when it changes. It always exists, so that a missing file is a fault. It is not
/// part of the configuration, whose changes roll the Pods.
pub(super) fn build(plan: &Plan) -> Result<ConfigMap, BuildError> {
    let file = serde_json::to_string(&plan.revocations).map_err(BuildError::Revocations)?;
    Ok(ConfigMap {
        metadata: metadata(plan, names::revocations(&plan.object.name)),
        data: Some(BTreeMap::from([(REVOCATIONS_KEY.to_owned(), file)])),
        ..ConfigMap::default()
    })
}
