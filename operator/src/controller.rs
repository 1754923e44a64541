//! The controller: reconciles each `McpServer` in five steps.

pub mod apply;
mod backoff;
mod build_and_apply;
pub mod children;
mod context;
pub mod dereference;
mod error;
pub mod jitter;
pub mod key_rotation;
pub mod names;
pub mod plan;
pub mod public_url;
pub mod queue;
pub mod recent_secrets;
mod report;
pub mod revocations;
pub mod rollouts;
pub mod status;
pub mod validate;
pub mod watches;

pub use context::Context;
pub use error::ReconcileError;

use std::sync::Arc;
use std::time::Duration;

use behalf_runtime::trace::{RequestSpan, within};
use futures::{Stream, StreamExt as _};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Config, Controller, watcher};
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use crate::api::v1alpha1::{Guarded, McpServer, McpServerStatus};
use crate::error_chain::chain;
use crate::telemetry::traces;
use revocations::Written;
use status::{Outcome, StatusError};
use validate::Refusals;

/// Maximum duration of one reconcile. A reconcile makes a few requests to the API server.
const LIMIT: Duration = Duration::from_mins(1);

/// Maximum number of objects reconciled concurrently.
const CONCURRENCY: u16 = 16;

/// Time without another event after which a reconcile begins. The children of a new object cause several events at once, and
/// by then the caches contain what the last reconcile wrote. Each event in this time
/// begins it again: an object with events more often than this waits until they pause.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Maximum time until a reconcile ends after it wrote a status. A watch needs milliseconds.
const CACHED_WITHIN: Duration = Duration::from_secs(1);

/// Time between two looks at a cache.
const CACHE_POLL: Duration = Duration::from_millis(10);

/// Runs until the watches end.
pub fn run(
    controller: Controller<Guarded>,
    context: Arc<Context>,
) -> impl Stream<Item = Result<(ObjectRef<Guarded>, Action), controller::Error<ReconcileError, watcher::Error>>>
{
    controller
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .run(reconcile, error_policy, context)
        .inspect(|result| {
            // A failed reconcile is already in the log; this is the error of a watch.
            if let Err(controller::Error::QueueError(error)) = result {
                tracing::warn!(error = %chain(error), "Watch was interrupted and starts again");
            }
        })
}

async fn reconcile(guard: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if let Some(waited) = context.queue.begin(&ObjectRef::from_obj(&*guard)) {
        context.metrics.waited(waited);
    }
    let _running = context.metrics.running();
    // The API server deletes the children, by their owner references.
    if guard.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let server = match &guard.0 {
        Ok(server) => server,
        Err(invalid) => return Ok(report::undecodable(&guard, &invalid.error, &context).await),
    };
    let span = context.tracer.as_ref().map(|tracer| {
        let namespace = server.namespace().unwrap_or_default();
        traces::reconcile(tracer, &namespace, &server.name_any())
    });
    let trace = span.as_ref().map(RequestSpan::trace);
    within(trace, Box::pin(reconcile_object(&context, server))).await
}

async fn reconcile_object(context: &Context, server: &McpServer) -> Result<Action, ReconcileError> {
    let uid = server.uid().unwrap_or_default();
    let start = Instant::now();
    let steps = Box::pin(run_steps(context, server));
    let result = match tokio::time::timeout(LIMIT, steps).await {
        Ok(result) => result,
        Err(_) => Err(ReconcileError::TimedOut),
    };
    let label = report::result(result.as_ref().map(|reconciled| &reconciled.status));
    context.metrics.reconciled(label, start.elapsed());
    traces::reconciled(label);
    match result {
        Ok(Reconciled { status, written_in }) => {
            context.retries.forget(&uid);
            let wait = backoff::after_success(&status, (context.random)());
            Ok(Action::requeue(
                written_in.map_or(wait, |written_in| wait.min(written_in)),
            ))
        }
        // Another change came first; its watch event triggers the next reconcile.
        Err(ReconcileError::Status(StatusError::Stale)) => Ok(Action::requeue(backoff::STALE)),
        Err(error) => {
            let failures = context.retries.failed(&uid, context.now());
            report::failed_step(context, server, &error, failures).await;
            Err(error)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn error_policy(guard: Arc<Guarded>, _: &ReconcileError, context: Arc<Context>) -> Action {
    let uid = guard.uid().unwrap_or_default();
    Action::requeue(context.retries.wait(&uid, (context.random)()))
}

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
    let name = server.name_any();
    tracing::trace!(
        mcp_server.name = name,
        pods = found.existing.pods.len(),
        "Read what {name} depends on"
    );
    let validated = read.map(|()| validate::validate(server, &found, &context.defaults));
    // First: a Pod needs them at its start, and a revocation must not wait for another child. A failed read ends the
    // reconcile only afterwards.
    let is_accepted = matches!(validated, Ok(Ok(_)));
    let revocations = Box::pin(revocations::write(context, server, is_accepted, &found)).await?;
    let validated = validated.map_err(ReconcileError::Dereference)?;
    let missing = match &revocations {
        Written::Failed { refusal, .. } => refusal.clone(),
        Written::Declared { .. } | Written::NoPods => None,
    };
    let outcome = match (validated, missing) {
        (Err(refusals), _) => Outcome::Refused(refusals),
        (Ok(_), Some(refusal)) => Outcome::Refused(Refusals::one(refusal)),
        (Ok(plan), None) => {
            Box::pin(build_and_apply::build_and_apply(
                context, server, plan, &mut found,
            ))
            .await?
        }
    };
    if server.spec.suspend && matches!(outcome, Outcome::Refused(_)) {
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
        if let Outcome::Applied { plan, .. } = &outcome {
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

/// Waits until the cache contains the status that was written, for a moment at most. The next reconcile would otherwise compare with
/// the status before, write it again and be refused, and read Secrets whose keys the status names.
async fn until_cached(context: &Context, server: &McpServer, written: &str) {
    // The API server numbers its versions, although that is no part of the contract of every release.
    let number = |version: &str| version.parse::<u64>().ok();
    let reference =
        ObjectRef::<Guarded>::new(&server.name_any()).within(&server.namespace().unwrap_or_default());
    let is_cached = || {
        let cached = context.sources.stores.servers.get(&reference);
        let version = cached.and_then(|server| server.resource_version());
        version.is_none_or(|version| number(&version) >= number(written))
    };
    let cached = async {
        while !is_cached() {
            tokio::time::sleep(CACHE_POLL).await;
        }
    };
    // A watch that is interrupted must not hold up the object.
    let _ = tokio::time::timeout(CACHED_WITHIN, cached).await;
}

#[cfg(test)]
mod tests;
