//! Builds the `ServiceAccount` of the Pods.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Applied, ChildKind, Children, Existing, metadata};
use crate::controller::plan::Plan;

impl ChildKind for ServiceAccount {
    const KIND: &'static str = "ServiceAccount";

    /// True if the object names another `ServiceAccount`.
    fn is_unused(&self, children: &Children<Applied>, _: &Existing) -> bool {
        children.service_account.is_none()
    }
}

/// Builds the `ServiceAccount`. It always has the name of the object, because administrators register `system:serviceaccount:<namespace>:<name>` at Entra.
pub(super) fn build(plan: &Plan) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(plan, plan.object.name.clone()),
        // The Pods never talk to the API server; the token for Entra is projected explicitly.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
