//! The controller: five steps for each object, and what stands round them.

pub mod apply;
mod backoff;
pub mod children;
mod context;
pub mod dereference;
pub mod jitter;
pub mod names;
pub mod public_url;
pub mod reason;
pub mod status;
pub mod validate;
pub mod watches;

pub use context::Context;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Config, Controller, watcher};
use kube::{Resource as _, ResourceExt as _};

use crate::api::v1alpha1::{McpServer, McpServerStatus};
use crate::telemetry::events;
use jitter::spread;
use reason::{ConditionType, Reason};
use status::{Outcome, StatusError, find};
use watches::Guarded;

/// Maximum duration of one pass. A pass makes a few requests to the API server.
const LIMIT: Duration = Duration::from_mins(1);

/// Maximum number of objects reconciled concurrently.
const CONCURRENCY: u16 = 16;

/// Time between two passes over a settled object if no event occurs. The passes detect changes to objects
/// that are read but not watched: a referenced `ConfigMap` or `ServiceAccount`.
const SETTLED: Duration = Duration::from_secs(30);

/// Time between two passes while something is missing. It is shorter because some conditions depend on the
/// time.
const UNSETTLED: Duration = Duration::from_secs(15);

/// Time to the next pass if the object changed during a pass. The event of that change usually arrives
/// earlier.
const STALE: Duration = Duration::from_secs(2);

/// Number of consecutive failures after which the status reports a failed step. A short outage of the API
/// server must not turn every object to `InProgress`.
const TOLD_AFTER: u32 = 3;

/// A step that failed. The next pass tries again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Reading.
    #[error("failed to read what the object needs")]
    Dereference(#[source] dereference::DereferenceError),

    /// Drawing keys.
    #[error("failed to draw random keys")]
    Random(#[source] getrandom::Error),

    /// Building.
    #[error("failed to build the object's children")]
    Build(#[source] children::BuildError),

    /// Writing children.
    #[error("failed to write the object's children")]
    Apply(#[source] apply::ApplyError),

    /// Writing the status.
    #[error("failed to write the object's status")]
    Status(#[source] StatusError),

    /// The API server is slow or silent.
    #[error("failed to finish within {} seconds", LIMIT.as_secs())]
    TimedOut,
}

impl ReconcileError {
    /// The step's name, for metrics.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Dereference(_) => "dereference",
            Self::Random(_) => "random",
            Self::Build(_) => "build",
            Self::Apply(_) => "apply",
            Self::Status(_) => "status",
            Self::TimedOut => "timeout",
        }
    }
}

/// Runs until the watches end.
pub fn run(
    controller: Controller<Guarded>,
    context: Arc<Context>,
) -> impl Stream<Item = Result<(ObjectRef<Guarded>, Action), controller::Error<ReconcileError, watcher::Error>>>
{
    controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .run(reconcile, error_policy, context)
        .inspect(|result| {
            // Errors of passes were logged where they happened; here are those of the watches.
            if let Err(controller::Error::QueueError(error)) = result {
                tracing::warn!(error = %chain(error), "Watch was interrupted and is taken up again");
            }
        })
}

async fn reconcile(guard: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let server = match &guard.0 {
        Ok(server) => server,
        Err(invalid) => {
            undecodable(&guard, &invalid.error, &context).await;
            return Ok(Action::await_change());
        }
    };
    // Its children go with it, by their owner references.
    if server.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let uid = server.uid().unwrap_or_default();
    let steps = Box::pin(run_steps(&context, server));
    let result = match tokio::time::timeout(LIMIT, steps).await {
        Ok(result) => result,
        Err(_) => Err(ReconcileError::TimedOut),
    };
    match result {
        Ok(status) => {
            context.retries.forget(&uid);
            context.metrics.pass_succeeded();
            let next = if is_settled(&status) { SETTLED } else { UNSETTLED };
            Ok(Action::requeue(spread(next, (context.random)())))
        }
        // Another change came first; its watch event brings the next pass.
        Err(ReconcileError::Status(StatusError::Stale)) => Ok(Action::requeue(STALE)),
        Err(error) => {
            context.metrics.pass_failed(error.step());
            let failures = context.retries.failed(&uid);
            report(&context, server, &error, failures).await;
            Err(error)
        }
    }
}

/// The five steps.
async fn run_steps(context: &Context, server: &McpServer) -> Result<McpServerStatus, ReconcileError> {
    let found = dereference::dereference(&context.sources, server, context.now())
        .await
        .map_err(ReconcileError::Dereference)?;
    let name = server.metadata.name.as_deref().unwrap_or_default();
    tracing::trace!(
        mcp_server.name = name,
        pods = found.live.pods.len(),
        "Read what {name} depends on"
    );
    let outcome = match validate::validate(server, &found, &context.defaults) {
        Err(refusals) => Outcome::Refused(refusals),
        Ok(plan) => serve(context, server, plan, &found).await?,
    };
    if server.spec.suspend && matches!(outcome, Outcome::Refused(_)) {
        apply::suspend(
            &context.sources.client,
            server.metadata.uid.as_deref(),
            &found.live,
        )
        .await
        .map_err(ReconcileError::Apply)?;
    }
    let status = status::compute(server, &outcome, &found, context.now());
    if status::write(&context.sources.client, server, &status)
        .await
        .map_err(ReconcileError::Status)?
    {
        announce(context, server, &status).await;
    }
    Ok(status)
}

/// Builds and applies what was planned.
async fn serve(
    context: &Context,
    server: &McpServer,
    plan: validate::plan::Plan,
    found: &dereference::dereferenced::Found,
) -> Result<Outcome, ReconcileError> {
    let fresh = match plan.keyring {
        validate::plan::KeyringPlan::Make => Some(context.fresh_keys().map_err(ReconcileError::Random)?),
        validate::plan::KeyringPlan::Keep { .. } => None,
    };
    let children = children::build(&plan, fresh).map_err(ReconcileError::Build)?;
    let children = match Box::pin(apply::apply(
        &context.sources.client,
        &context.stored_forms,
        children,
        &found.live,
    ))
    .await
    {
        Ok(children) => children,
        Err(error) => {
            return match error.refusal() {
                Some(refusal) => Ok(Outcome::Refused(validate::Refusals::one(refusal))),
                None => Err(ReconcileError::Apply(error)),
            };
        }
    };
    if children.keyring.is_some() {
        let name = full_name(server);
        let replaced = events::keyring_replaced(server);
        tracing::info!(mcp_server.name = %name, keyring.replaced = replaced.is_some(), "Made a keyring for {name}");
        if let Some(event) = replaced {
            events::publish(&context.recorder, &server.object_ref(&()), &event).await;
        }
    }
    Ok(Outcome::Applied {
        plan: Box::new(plan),
        children: Box::new(children),
    })
}

/// Says in log and events what changed for the object.
async fn announce(context: &Context, server: &McpServer, status: &McpServerStatus) {
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
async fn report(context: &Context, server: &McpServer, error: &ReconcileError, failures: u32) {
    let name = full_name(server);
    let message = chain(error);
    tracing::warn!(mcp_server.name = %name, step = error.step(), error = %message, failures, "Pass over {name} failed and is tried again");
    if failures < TOLD_AFTER {
        return;
    }
    let status = status::with_failed_step(server, &message, context.now());
    let writing = status::write(&context.sources.client, server, &status);
    match tokio::time::timeout(LIMIT, writing).await {
        Ok(Ok(_) | Err(StatusError::Stale)) => {}
        Ok(Err(error)) => {
            tracing::warn!(mcp_server.name = %name, error = %chain(&error), "Failed step of {name} is not in its status");
        }
        Err(_) => {
            tracing::warn!(mcp_server.name = %name, "Failed step of {name} is not in its status: the API server is silent");
        }
    }
}

async fn undecodable(guard: &DeserializeGuard<McpServer>, error: &str, context: &Context) {
    let name = format!("{}/{}", guard.namespace().unwrap_or_default(), guard.name_any());
    // What stands in the object may be anything, so only an event for its owner quotes it.
    tracing::error!(
        mcp_server.name = %name,
        "{name} cannot be read by this version of the operator; install the CRD of the same version and apply it again"
    );
    events::publish(
        &context.recorder,
        &guard.object_ref(&()),
        &events::undecodable(error),
    )
    .await;
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn error_policy(guard: Arc<Guarded>, _: &ReconcileError, context: Arc<Context>) -> Action {
    let uid = guard.uid().unwrap_or_default();
    Action::requeue(context.retries.wait(&uid, (context.random)()))
}

/// Whether nothing is expected to change by itself.
fn is_settled(status: &McpServerStatus) -> bool {
    // An edit brings a pass of its own.
    let suspended = find(&status.conditions, ConditionType::Available)
        .is_some_and(|condition| condition.reason == Reason::Suspended.as_str());
    if suspended || find(&status.conditions, ConditionType::Stalled).is_some() {
        return true;
    }
    let required = [
        ConditionType::Accepted,
        ConditionType::Available,
        ConditionType::FederationVerified,
        ConditionType::Verified,
    ];
    required
        .into_iter()
        .all(|kind| find(&status.conditions, kind).is_some_and(|condition| condition.status == "True"))
}

fn full_name(server: &McpServer) -> String {
    format!("{}/{}", server.namespace().unwrap_or_default(), server.name_any())
}

/// An error and its causes in one line. The API server's own words stand for kube's error, which repeats
/// its cause in its text.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error
            .downcast_ref::<kube::Error>()
            .or_else(|| error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref))
        {
            text.push_str(": ");
            match error {
                kube::Error::Api(status) => text.push_str(&status.message),
                other => text.push_str(&other.to_string()),
            }
            break;
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
