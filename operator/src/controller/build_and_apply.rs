//! The steps `children` and `apply` of a reconcile: builds the children of a plan and writes them.

use super::context::Context;
use super::dereference::dereferenced::Found;
use super::error::ReconcileError;
use super::plan::{KeyringPlan, Plan};
use super::status::Outcome;
use super::validate::Refusals;
use super::{apply, children, report};
use crate::api::v1alpha1::McpServer;

/// Builds and applies the children of a valid spec. A child that the API server rejects is a refusal.
pub(super) async fn build_and_apply(
    context: &Context,
    server: &McpServer,
    plan: Plan,
    found: &Found,
) -> Result<Outcome, ReconcileError> {
    let keys = match plan.keyring {
        KeyringPlan::Make => Some(context.fresh_keys().map_err(ReconcileError::Random)?),
        KeyringPlan::Keep { .. } | KeyringPlan::Adopt { .. } => None,
    };
    let mut built = children::build(&plan, keys).map_err(ReconcileError::Build)?;
    let client = &context.sources.client;
    let applied = async {
        if let Some(keyring) = built.keyring.take() {
            built.keyring = Some(apply::create_keyring(client, keyring).await?);
            // Reported before the other children are applied: if one of them fails, the next reconcile finds the
            // keyring and does not know that it is new.
            report::new_keyring(context, server).await;
        }
        Box::pin(apply::apply(
            client,
            &context.stored_forms,
            built,
            &found.existing,
        ))
        .await
    };
    let children = match applied.await {
        Ok(children) => children,
        Err(error) => match error.refusal() {
            Some(refusal) => return Ok(Outcome::Refused(Refusals::one(refusal))),
            None => return Err(ReconcileError::Apply(error)),
        },
    };
    Ok(Outcome::Applied {
        plan: Box::new(plan),
        children: Box::new(children),
    })
}
