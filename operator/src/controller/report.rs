//! Reports the result of a reconcile in the log, as events and, for a step that fails repeatedly, in the status.

use behalf_contract::EventReason;
use behalf_runtime::spread;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use super::apply::ApplyError;
use super::backoff::{Failures, SETTLED, STALE, UNSETTLED};
use super::context::Context;
use super::error::{LIMIT, ReconcileError};
use super::key_rotation::RotationStep;
use super::names::{self, full_name};
use super::plan::KeyringPlan;
use super::status::{self, StatusError};
use crate::api::v1alpha1::conditions::{self, ConditionType, Status};
use crate::api::v1alpha1::{McpServer, McpServerStatus};
use crate::error_chain::chain;
use crate::telemetry::events;
use crate::telemetry::reconcile_result::{ReconcileResult, ReconcileStep};

/// Returns how a reconcile ended, for the metrics.
pub(super) fn result(reconcile: Result<&McpServerStatus, &ReconcileError>) -> ReconcileResult {
    match reconcile {
        Ok(status) if conditions::is(&status.conditions, ConditionType::Accepted, Status::True) => {
            ReconcileResult::Accepted
        }
        Ok(_) => ReconcileResult::Refused,
        Err(ReconcileError::Status(StatusError::Stale)) => ReconcileResult::Stale,
        Err(error) => ReconcileResult::Failed(error.step()),
    }
}

/// Reports a new keyring in the log. If it replaces a keyring that was lost, an event reports it too: every session of
/// the object has ended.
pub(super) async fn new_keyring(context: &Context, server: &McpServer) {
    let name = full_name(server);
    let replaced = key_in_status(server).is_some();
    tracing::info!(mcp_server.name = %name, keyring.replaced = replaced, "Made a keyring for {name}");
    if replaced {
        let event = events::keyring_replaced(&names::keyring_secret(&server.name_any()));
        events::publish(&context.recorder, &server.object_ref(&()), &event).await;
    }
}

/// Reports in the log and as an event that the object begins to use a keyring that was restored from a backup.
pub(super) async fn adopted_keyring(context: &Context, server: &McpServer, keyring: &KeyringPlan) {
    let KeyringPlan::Adopt { sealing } = keyring else {
        return;
    };
    if key_in_status(server) == Some(sealing.as_str()) {
        return;
    }
    let (name, secret) = (full_name(server), names::keyring_secret(&server.name_any()));
    tracing::info!(mcp_server.name = %name, "{name} uses the keyring without an owner in Secret {secret}");
    let event = events::keyring_adopted(&secret);
    events::publish(&context.recorder, &server.object_ref(&()), &event).await;
}

/// Reports a step of a key rotation in the log and as an event.
pub(super) async fn rotation_step(context: &Context, server: &McpServer, step: &RotationStep) {
    let name = full_name(server);
    let (reason, note) = match step {
        RotationStep::Add => (
            EventReason::KeyRotationStarted,
            "a new key opens sessions, and seals them once every Pod reports it".to_owned(),
        ),
        RotationStep::Seal(id) => (
            EventReason::KeyRotated,
            format!(
                "every Pod reports key {id}, which seals sessions now; the key before it still opens them"
            ),
        ),
        RotationStep::Remove(ids) => (
            EventReason::KeyRetired,
            format!(
                "every session that was sealed with {} has expired; {}",
                ids.join(", "),
                if ids.len() == 1 {
                    "the key is removed"
                } else {
                    "these keys are removed"
                }
            ),
        ),
    };
    let event = events::rotation_step(reason, &note);
    let note = event.note.as_deref().unwrap_or_default();
    tracing::info!(mcp_server.name = %name, event.reason, "Keys of {name}: {note}");
    events::publish(&context.recorder, &server.object_ref(&()), &event).await;
}

/// Reports a step of a key rotation that could not be written, in the log and as an event. The next reconcile tries again.
pub(super) async fn failed_rotation(context: &Context, server: &McpServer, error: &ApplyError) {
    let (name, message) = (full_name(server), chain(error));
    tracing::warn!(mcp_server.name = %name, error = %message, "A step of the key rotation of {name} failed and is tried again");
    let event = events::failed_rotation(&names::keyring_secret(&server.name_any()), &message);
    events::publish(&context.recorder, &server.object_ref(&()), &event).await;
}

/// Returns the id of the sealing key of the operator's keyring in the status.
fn key_in_status(server: &McpServer) -> Option<&str> {
    let secret = names::keyring_secret(&server.name_any());
    let keys = server.status.as_ref()?.keys_of(&secret)?;
    Some(&keys.current)
}

/// Reports each changed condition in the log and as an event.
pub(super) async fn transitions(context: &Context, server: &McpServer, status: &McpServerStatus) {
    let before = server.status.clone().unwrap_or_default();
    let name = full_name(server);
    for transition in events::transitions(&before.conditions, &status.conditions) {
        tracing::info!(
            mcp_server.name = %name,
            condition.type_name = transition.kind.as_str(),
            condition.status = %transition.status,
            condition.reason = %transition.reason,
            "{} of {name} is {}", transition.kind.as_str(), transition.status
        );
        events::publish(&context.recorder, &server.object_ref(&()), &transition.event()).await;
    }
}

/// Reports a failed step in the log. A step that fails repeatedly is also reported in a condition, for users
/// who cannot read the log.
pub(super) async fn failed_step(
    context: &Context,
    server: &McpServer,
    error: &ReconcileError,
    failures: Failures,
) {
    let name = full_name(server);
    let message = chain(error);
    tracing::warn!(mcp_server.name = %name, reconcile.step = error.step().as_str(), error = %message, reconcile.failures = failures.count, "Reconcile of {name} failed and is tried again");
    if !failures.are_lasting() {
        return;
    }
    let status = status::with_failed_step(server, &message, context.now());
    let writing = status::write(&context.sources.client, server, &status);
    match tokio::time::timeout(LIMIT, writing).await {
        Ok(Ok(_) | Err(StatusError::Stale)) => {}
        Ok(Err(error)) => {
            tracing::warn!(mcp_server.name = %name, error = %chain(&error), "Unable to write the failed step of {name} to its status; trying again");
        }
        Err(_) => {
            tracing::warn!(
                mcp_server.name = %name,
                "Unable to write the failed step of {name} to its status: the API server did not answer within {} s; trying again",
                LIMIT.as_secs()
            );
        }
    }
}

/// Reports an object that cannot be decoded: in its status, in the metrics as a refused one, and if the status changes, in the log and
/// as an event.
pub(super) async fn undecodable(
    guard: &DeserializeGuard<McpServer>,
    error: &str,
    context: &Context,
) -> Action {
    let began = Instant::now();
    let name = full_name(guard);
    let message = format!(
        "this version of the operator cannot read the object ({error}); install the CRD of the same version and apply it again"
    );
    let writing = status::write_undecodable(&context.sources.client, guard, &message, context.now());
    let (result, wait) = match tokio::time::timeout(LIMIT, writing).await {
        Ok(Ok(is_new)) => {
            if is_new {
                // The object may contain any text, so only its event and its status quote the error.
                tracing::error!(
                    mcp_server.name = %name,
                    "{name} cannot be read by this version of the operator; install the CRD of the same version and apply it again"
                );
                let event = events::undecodable(&message);
                events::publish(&context.recorder, &guard.object_ref(&()), &event).await;
            }
            // Another version of the CRD may make the object readable without a new generation, which no watch reports.
            (ReconcileResult::Refused, SETTLED)
        }
        // Another change came first. The watch reports it only if it changed the spec.
        Ok(Err(StatusError::Stale)) => (ReconcileResult::Stale, STALE),
        Ok(Err(error)) => {
            tracing::warn!(mcp_server.name = %name, error = %chain(&error), "{name} cannot be read by this version of the operator, and its status does not say so yet; trying again");
            (ReconcileResult::Failed(ReconcileStep::Status), UNSETTLED)
        }
        Err(_) => {
            tracing::warn!(
                mcp_server.name = %name,
                "{name} cannot be read by this version of the operator, and its status does not say so yet: the API server did not \
                 answer within {} s; trying again",
                LIMIT.as_secs()
            );
            (ReconcileResult::Failed(ReconcileStep::Timeout), UNSETTLED)
        }
    };
    context.metrics.reconciled(result, began.elapsed());
    Action::requeue(spread(wait, (context.random)()))
}
