//! The steps `children` and `apply` of a reconcile: builds the children of a plan and writes them.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;

use super::children::ChildKind as _;
use super::context::Context;
use super::dereference::cluster_state::ClusterState;
use super::error::ReconcileError;
use super::key_rotation::{self, KeyChangeError, RotationInput, RotationStep};
use super::plan::{KeyringPlan, Plan};
use super::status::ReconcileOutcome;
use super::validate::{self, Refusal, Refusals};
use super::{apply, children, dereference, report};
use crate::api::v1alpha1::McpServer;

/// Builds and applies the children of a valid spec. A child that the API server rejects is a refusal.
pub(super) async fn build_and_apply(
    context: &Context,
    server: &McpServer,
    plan: Plan,
    found: &mut ClusterState,
) -> Result<ReconcileOutcome, ReconcileError> {
    let applied = Box::pin(apply_plan(context, server, plan, found)).await;
    let may_exist = match &applied {
        Err(ReconcileError::Apply(error)) => error.is_already_exists(),
        // Quotas and webhooks refuse before the API server compares names.
        Ok(ReconcileOutcome::Refused(refusals)) => refusals.iter().any(is_of_a_secret),
        Ok(ReconcileOutcome::Applied { .. }) | Err(_) => false,
    };
    if !may_exist || !found.keyring_is_unread {
        return applied;
    }
    dereference::read_keyring(&context.sources, server, found, context.now())
        .await
        .map_err(ReconcileError::Dereference)?;
    if found.keyring.is_none() {
        return applied;
    }
    // The keyring was restored before its new object.
    match validate::validate(server, found, &context.defaults) {
        Ok(plan) => Box::pin(apply_plan(context, server, plan, found)).await,
        Err(refusals) => Ok(ReconcileOutcome::Refused(refusals)),
    }
}

/// Returns whether the API server refused a Secret.
fn is_of_a_secret(refusal: &Refusal) -> bool {
    let (Refusal::ChildRejected { kind, .. } | Refusal::ChildDenied { kind, .. }) = refusal else {
        return false;
    };
    *kind == Secret::KIND
}

async fn apply_plan(
    context: &Context,
    server: &McpServer,
    plan: Plan,
    found: &ClusterState,
) -> Result<ReconcileOutcome, ReconcileError> {
    let keys = match plan.keyring {
        KeyringPlan::Create => Some(context.fresh_keys().map_err(ReconcileError::Random)?),
        KeyringPlan::Keep { .. } | KeyringPlan::Adopt { .. } | KeyringPlan::Given(_) => None,
    };
    let mut built = children::build(&plan, keys).map_err(ReconcileError::Build)?;
    let slot = context.rollouts.acquire(
        &context.sources.stores,
        server,
        &built.deployment,
        &found.existing.children,
        context.now(),
    );
    let decision = slot.decision();
    let rotation = rotation(context, server, &plan, found).map_err(ReconcileError::Keys)?;
    let client = &context.sources.client;
    let applied = async {
        if let Some(mut keyring) = built.keyring.take() {
            key_rotation::record_request(server, &mut keyring);
            let keyring = apply::create_keyring(client, keyring).await?;
            context.sources.remember_keyring(&keyring, context.now());
            built.keyring = Some(keyring);
            // Reported before the other children are applied: if one of them fails, the next reconcile finds the
            // keyring and does not know that it is new.
            report::new_keyring(context, server).await;
        } else if let Some((step, keyring)) = rotation {
            // Nothing else waits for a rotation: a Secret that refuses the write must not keep a revocation from the Pods.
            match apply::replace_keyring(client, keyring).await {
                Ok(keyring) => {
                    context.sources.remember_keyring(&keyring, context.now());
                    built.keyring = Some(keyring);
                    report::rotation_step(context, server, &step).await;
                }
                // Another writer was faster: the next reconcile reads the keyring again.
                Err(error) if error.is_conflict() => return Err(error),
                Err(error) => report::failed_rotation(context, server, &error).await,
            }
        }
        Box::pin(apply::apply(
            client,
            &context.stored_forms,
            built,
            &found.existing,
            slot,
        ))
        .await
    };
    let children = match applied.await {
        Ok(children) => children,
        Err(error) => match error.refusal() {
            Some(refusal) => return Ok(ReconcileOutcome::Refused(Refusals::one(refusal))),
            None => return Err(ReconcileError::Apply(error)),
        },
    };
    Ok(ReconcileOutcome::Applied {
        plan: Box::new(plan),
        children: Box::new(children),
        decision,
    })
}

/// Returns the step of the key rotation that is due, and the keyring after it. The keyring was read if a step may be due. A
/// keyring without an owner belongs to the person who restored it, and is not changed.
fn rotation(
    context: &Context,
    server: &McpServer,
    plan: &Plan,
    found: &ClusterState,
) -> Result<Option<(RotationStep, Secret)>, KeyChangeError> {
    let (KeyringPlan::Keep { .. }, Some(secret)) = (&plan.keyring, &found.keyring) else {
        return Ok(None);
    };
    let now = context.now();
    let input = RotationInput::of(server, &found.existing.pods, &found.reports, now);
    let Some((keys, input)) = key_rotation::keys_in(secret).zip(input) else {
        return Ok(None);
    };
    let Some(step) = key_rotation::due_step(&keys, &input) else {
        return Ok(None);
    };
    let fresh = || context.fresh_keys();
    let longest_session = plan.sessions.maximum_lifetime_seconds;
    let longest_session = SignedDuration::from_secs(i64::try_from(longest_session).unwrap_or(i64::MAX));
    let changed = key_rotation::change(secret, &step, input.request, fresh, longest_session, now)?;
    Ok(Some((step, changed)))
}
