//! Builds the Secret with the revocations.

use std::collections::BTreeMap;

use behalf_contract::Revocations;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use super::{BuildError, owner};
use crate::api::v1alpha1::McpServer;
use crate::controller::child_labels::ChildLabels;
use crate::controller::names;

/// The Secret whose file the sidecar reads again when it changes. It is built from the object and not from its plan, so that
/// revocations are in force while the rest of the spec is refused.
///
/// It always exists, so that a missing file is a fault. It is not part of the configuration, whose changes roll the Pods.
pub fn build(
    server: &McpServer,
    revocations: &Revocations,
    child_labels: &ChildLabels,
) -> Result<Secret, BuildError> {
    let file = serde_json::to_vec(revocations).map_err(BuildError::Revocations)?;
    let object = server.name_any();
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(names::revocations(&object)),
            namespace: server.namespace(),
            labels: Some(child_labels.overridden_by(names::labels(&object))),
            owner_references: Some(owner(server).into_iter().collect()),
            ..ObjectMeta::default()
        },
        type_: Some(names::REVOCATIONS_TYPE.to_owned()),
        data: Some(BTreeMap::from([(
            names::REVOCATIONS_KEY.to_owned(),
            ByteString(file),
        )])),
        ..Secret::default()
    })
}
