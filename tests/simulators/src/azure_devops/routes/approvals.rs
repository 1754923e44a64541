//! Approvals of YAML stages.

use axum::{body::Bytes, extract::Path, response::IntoResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Answer;
use crate::azure_devops::{
    ask::{Area, Ask, identity_json, json_body},
    clock::wire,
    error::ServiceError,
    reply::Page,
    world::model::Approval,
};

const STATES: [&str; 11] = [
    "undefined",
    "uninitiated",
    "pending",
    "approved",
    "rejected",
    "skipped",
    "canceled",
    "timedOut",
    "failed",
    "completed",
    "all",
];

/// Here it is `top`, without `$`.
pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let query = &ask.query;
    let ids: Vec<String> = query.list("approvalids")?;
    let users: Vec<String> = query.list("userids")?;
    let states = query.choices("state", &STATES)?;
    let expand = query.choices("$expand", &["none", "steps", "permissions"])?;
    let size = query.page_size("top", 100, 1_000)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let items = state
            .world
            .approvals
            .values()
            .filter(|approval| approval.project == project.name)
            .filter(|approval| ids.is_empty() || ids.contains(&approval.id))
            .filter(|approval| users.is_empty() || users.contains(&approval.approver.id))
            .filter(|approval| {
                states.is_empty() || states.contains(&"all") || states.contains(&approval.status.as_str())
            })
            .take(size)
            .map(|approval| view(approval, expand.contains(&"steps")))
            .collect();
        Ok(Page::whole(items).into_response())
    })
}

fn view(approval: &Approval, with_steps: bool) -> Value {
    let steps = json!([{
        "assignedApprover": identity_json(&approval.approver),
        "status": approval.status,
        "comment": approval.comment,
        "order": 1,
        "lastModifiedOn": wire(approval.modified),
        "history": [],
    }]);
    json!({
        "id": approval.id,
        "steps": if with_steps { steps } else { json!([]) },
        "status": approval.status,
        "createdOn": wire(approval.created),
        "lastModifiedOn": wire(approval.modified),
        "executionOrder": "anyOrder",
        "minRequiredApprovers": 1,
        "blockedApprovers": [],
        "instructions": approval.instructions,
        "pipeline": {"owner": {"id": approval.build}},
        "_links": {},
    })
}

/// `[{"approvalId":"...","status":"approved|rejected","comment":"..."}]`; all or nothing.
pub(super) async fn update(ask: Ask, Path((_, project)): Path<(String, String)>, body: Bytes) -> Answer {
    let body = json_body(&body)?;
    let wanted = body.as_array().filter(|wanted| !wanted.is_empty());
    let wanted = wanted
        .ok_or_else(|| ServiceError::model("The request is invalid. A list of approvals is needed."))?;
    let wanted: Vec<(&str, &str, Option<&str>)> = wanted.iter().map(read).collect::<Result<_, _>>()?;
    let now = ask.simulator.clock.now();
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        for (id, ..) in &wanted {
            let approval = state
                .world
                .approvals
                .get(*id)
                .filter(|approval| approval.project == project)
                .ok_or_else(|| {
                    ServiceError::not_found(
                        "ApprovalNotFoundException",
                        format!("Approval {id} could not be found."),
                    )
                })?;
            if !ask.caller.permissions.approve || approval.approver.object_id != ask.caller.object_id {
                return Err(ServiceError::pipeline_permission(
                    &ask.caller.display_name,
                    "Approve",
                    &format!("run {}", approval.build),
                    &project,
                ));
            }
            if approval.status != "pending" {
                return Err(ServiceError::invalid_argument(format!(
                    "Approval {id} is {} already.",
                    approval.status
                )));
            }
        }
        let items = wanted
            .into_iter()
            .filter_map(|(id, status, comment)| {
                let approval = state.world.approvals.get_mut(id)?;
                decide(approval, status, comment, now);
                Some(view(approval, true))
            })
            .collect();
        Ok(Page::whole(items).into_response())
    })
}

fn read(wanted: &Value) -> Result<(&str, &str, Option<&str>), ServiceError> {
    let text = |key: &str| wanted.get(key).and_then(Value::as_str);
    let id = text("approvalId")
        .ok_or_else(|| ServiceError::model("The request is invalid. approvalId is needed."))?;
    let status = text("status").unwrap_or_default();
    let status = ["approved", "rejected"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(status));
    let status = status
        .ok_or_else(|| ServiceError::model("The request is invalid. status must be approved or rejected."))?;
    Ok((id, status, text("comment")))
}

fn decide(approval: &mut Approval, status: &str, comment: Option<&str>, now: Timestamp) {
    status.clone_into(&mut approval.status);
    approval.comment = comment.map(str::to_owned);
    approval.modified = now;
}
