//! The place of an object among the rollouts that run at a time.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use tokio::sync::MutexGuard;

use super::Turn;
use crate::api::v1alpha1::McpServer;
use crate::controller::CACHE_POLL;
use crate::controller::context::Context;
use crate::controller::dereference::dereferenced::Found;

/// Maximum time until the cache contains a Deployment that was just written. A watch needs milliseconds.
const CACHED_WITHIN: Duration = Duration::from_secs(5);

/// The place of an object among the rollouts.
pub(in crate::controller) enum Place<'a> {
    /// Its rollout is not limited, or there is none.
    Free,

    /// It begins a rollout. No other limited rollout begins until the cache contains this one, so that the caches are enough to
    /// count those that run.
    Taken(MutexGuard<'a, ()>),

    /// It waits.
    None,
}

impl<'a> Place<'a> {
    /// Takes a place for an object, if its rollout needs one and one is free.
    pub(in crate::controller) async fn of(
        context: &'a Context,
        server: &McpServer,
        desired: &Deployment,
        found: &Found,
    ) -> Self {
        if !super::is_unasked(server, desired, &found.existing.children) {
            return Self::Free;
        }
        let stores = &context.sources.stores;
        let has_room = || {
            let deployments = stores.deployments();
            let deployments = deployments.iter().map(AsRef::as_ref);
            super::has_room(context.defaults.max_rollouts, deployments, stores.servers.len())
        };
        if !has_room() {
            return Self::None;
        }
        let taken = context.rollouts.lock().await;
        if has_room() {
            Self::Taken(taken)
        } else {
            Self::None
        }
    }

    /// Returns whether the Pods may be replaced.
    pub(in crate::controller) fn turn(&self) -> Turn {
        match self {
            Self::Free | Self::Taken(_) => Turn::Now,
            Self::None => Turn::Waits,
        }
    }

    /// Lets the next rollout begin, once the cache contains this one.
    pub(in crate::controller) async fn release(self, context: &Context, written: &Deployment) {
        let Self::Taken(_taken) = self else { return };
        let (namespace, name) = (written.namespace().unwrap_or_default(), written.name_any());
        let is_cached = || {
            let cached = context.sources.stores.deployment(&namespace, &name);
            cached.is_some_and(|cached| cached.metadata.generation >= written.metadata.generation)
        };
        let cached = async {
            while !is_cached() {
                tokio::time::sleep(CACHE_POLL).await;
            }
        };
        if tokio::time::timeout(CACHED_WITHIN, cached).await.is_err() {
            tracing::warn!(
                mcp_server.name = name,
                "Deployment of {name} is written and not in the cache yet; one rollout too many may begin"
            );
        }
    }
}
