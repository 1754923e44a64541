//! Reconciles an object at each of its events, within a time limit, and again after a failure.

use std::sync::Arc;
use std::time::Duration;

use behalf_runtime::trace::{RequestSpan, within};
use futures::{Stream, StreamExt as _};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Config, Controller, watcher};
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use super::context::Context;
use super::error::{LIMIT, ReconcileError};
use super::status::StatusError;
use super::{Reconciled, backoff, report, run_steps};
use crate::api::v1alpha1::{Guarded, McpServer};
use crate::error_chain::chain;
use crate::telemetry::traces;

/// Maximum number of objects reconciled concurrently.
const CONCURRENCY: u16 = 16;

/// Time without another event after which a reconcile begins. The children of a new object cause several events at once, and
/// by then the caches contain what the last reconcile wrote. Each event in this time
/// begins it again: an object with events more often than this waits until they pause.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(100);

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

pub(super) async fn reconcile(guard: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
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
pub(super) fn error_policy(guard: Arc<Guarded>, _: &ReconcileError, context: Arc<Context>) -> Action {
    let uid = guard.uid().unwrap_or_default();
    Action::requeue(context.retries.wait(&uid, (context.random)()))
}
