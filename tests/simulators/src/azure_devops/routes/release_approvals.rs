//! Approvals of classic releases.

use axum::{body::Bytes, extract::Path, response::IntoResponse};
use serde_json::{Value, json};

use super::{Answer, deployments::require_view};
use crate::azure_devops::{
    ask::{Area, Ask, identity_json, json_body, number},
    clock::wire,
    error::ServiceError,
    reply::{self, Page},
    world::model::ReleaseApproval,
};

fn approval_view(approval: &ReleaseApproval) -> Value {
    json!({
        "id": approval.id,
        "revision": 1,
        "approvalType": "preDeploy",
        "createdOn": wire(approval.created),
        "modifiedOn": wire(approval.modified),
        "status": approval.status,
        "comments": approval.comments,
        "isAutomated": false,
        "approver": identity_json(&approval.approver),
        "attempt": 1,
        "rank": 1,
    })
}

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let status = ask
        .query
        .get("statusfilter")
        .unwrap_or("pending")
        .to_ascii_lowercase();
    let size = ask.query.page_size("top", 50, 100)?;
    require_view(&ask)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let items = state
            .world
            .release_approvals
            .values()
            .filter(|approval| {
                approval.project == project && (status == "undefined" || approval.status == status)
            })
            .take(size)
            .map(approval_view)
            .collect();
        Ok(Page::whole(items).into_response())
    })
}

/// `{"status":"approved|rejected","comments":"..."}`.
pub(super) async fn decide(
    ask: Ask,
    Path((_, project, approval)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    let id: u32 = number("approvalId", &approval)?;
    let body = json_body(&body)?;
    let status = body.get("status").and_then(Value::as_str).unwrap_or_default();
    let status = ["approved", "rejected"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(status));
    let status = status
        .ok_or_else(|| ServiceError::model("The request is invalid. status must be approved or rejected."))?;
    let comments = body.get("comments").and_then(Value::as_str).unwrap_or_default();
    let now = ask.simulator.clock.now();
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let approval = state
            .world
            .release_approvals
            .get_mut(&id)
            .filter(|approval| approval.project == project);
        let approval = approval.ok_or_else(|| {
            ServiceError::not_found(
                "ApprovalNotFoundException",
                format!("Approval {id} could not be found."),
            )
        })?;
        if !ask.caller.permissions.approve || approval.approver.object_id != ask.caller.object_id {
            return Err(ServiceError::release_permission(
                &ask.caller.display_name,
                "Manage deployments",
            ));
        }
        if approval.status != "pending" {
            return Err(ServiceError::invalid_argument(format!(
                "Approval {id} is {} already.",
                approval.status
            )));
        }
        status.clone_into(&mut approval.status);
        comments.clone_into(&mut approval.comments);
        approval.modified = now;
        let (view, deployment) = (approval_view(approval), approval.deployment);
        if let Some(deployment) = state.world.deployments.get_mut(&deployment) {
            let (status, operation) = if status == "approved" {
                ("inProgress", "QueuedForAgent")
            } else {
                ("notDeployed", "Rejected")
            };
            status.clone_into(&mut deployment.status);
            operation.clone_into(&mut deployment.operation_status);
            deployment.modified = now;
        }
        Ok(reply::json_response(&view))
    })
}
