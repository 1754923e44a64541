//! The controller: reconciles each `McpServer` in five steps.

pub mod apply;
mod backoff;
mod build_and_apply;
pub mod child_labels;
pub mod children;
mod context;
pub mod dereference;
mod error;
pub mod jitter;
pub mod key_rotation;
pub mod managed_fields;
pub mod max_rollouts;
pub mod names;
pub mod plan;
pub mod pods;
pub mod public_url;
pub mod queue;
pub mod recent_secrets;
mod reconcile;
pub mod reference_defaults;
mod report;
pub mod revocations;
pub mod revocations_outcome;
pub mod rollouts;
pub mod status;
mod until_cached;
pub mod validate;
pub mod watches;

pub use context::Context;
pub use error::ReconcileError;
pub use reconcile::run;

use std::time::Duration;

use kube::ResourceExt as _;
use tokio::time::Instant;

use crate::api::v1alpha1::{McpServer, McpServerStatus};
use revocations_outcome::RevocationsOutcome;
use status::ReconcileOutcome;
use until_cached::until_cached;
use validate::Refusals;

/// The result of the five steps.
struct Reconciled {
    /// The computed status.
    status: McpServerStatus,

    /// Time until it is written. `None` if the object has it.
    written_in: Option<Duration>,
}

/// The five steps: `dereference` reads, `validate` and `children` compute, `apply` and `status` write.
async fn run_steps(context: &Context, server: &McpServer) -> Result<Reconciled, ReconcileError> {
    let client = &context.sources.client;
    let mut found = dereference::from_caches(&context.sources, server)
        .await
        .map_err(ReconcileError::Dereference)?;
    let references = &context.defaults.references;
    let read = dereference::read(&context.sources, server, references, &mut found, context.now()).await;
    let name = names::full_name(server);
    tracing::trace!(
        mcp_server.name = name,
        mcp_server.pods = found.existing.pods.len(),
        "Read what {name} depends on"
    );
    let validated = read.map(|()| validate::validate(server, &found, &context.defaults));
    // Revocations are written before any other child: Pods mount them at start, and ending sessions must not wait for
    // another child. An error of `read` ends the reconcile only after this.
    let is_accepted = matches!(validated, Ok(Ok(_)));
    let revocations = Box::pin(revocations::write(context, server, is_accepted, &found)).await?;
    let validated = validated.map_err(ReconcileError::Dereference)?;
    let revocations_refusal = match &revocations {
        RevocationsOutcome::Failed { refusal, .. } => refusal.clone(),
        RevocationsOutcome::Declared { .. } | RevocationsOutcome::NoPods => None,
    };
    let outcome = match (validated, revocations_refusal) {
        (Err(refusals), _) => ReconcileOutcome::Refused(refusals),
        (Ok(_), Some(refusal)) => ReconcileOutcome::Refused(Refusals::one(refusal)),
        (Ok(plan), None) => {
            Box::pin(build_and_apply::build_and_apply(
                context, server, plan, &mut found,
            ))
            .await?
        }
    };
    if server.spec.suspend && matches!(outcome, ReconcileOutcome::Refused(_)) {
        apply::suspend(client, server, &found.existing)
            .await
            .map_err(ReconcileError::Apply)?;
    }
    let mut status = status::compute(server, &outcome, &revocations, &found, context.now());
    let namespace = server.namespace().unwrap_or_default();
    if let Some(message) = context.sources.stores.refused_watch(&namespace) {
        status::add_failed_step(&mut status, server, &message, context.now());
    }
    let postponed = context.postponed_writes.wait(server, &status, Instant::now());
    if let Some(wait) = postponed {
        return Ok(Reconciled {
            status,
            written_in: Some(wait),
        });
    }
    let written = status::write(client, server, &status).await;
    if let Some(version) = written.map_err(ReconcileError::Status)? {
        report::transitions(context, server, &status).await;
        if let ReconcileOutcome::Applied { plan, .. } = &outcome {
            report::adopted_keyring(context, server, &plan.keyring).await;
        }
        // The parsed children of an object need several times the memory of its place in the caches.
        drop((outcome, found));
        until_cached(context, server, &version).await;
    }
    Ok(Reconciled {
        status,
        written_in: None,
    })
}

#[cfg(test)]
mod tests;
