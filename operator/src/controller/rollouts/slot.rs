//! The slot of an object among the rollouts that run at a time.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::MutexGuard;

use super::RolloutDecision;
use crate::api::v1alpha1::McpServer;
use crate::controller::context::Context;
use crate::controller::dereference::dereferenced::ClusterState;
use crate::controller::until_cached::CACHE_POLL;
use crate::controller::watches::Stores;

/// Maximum time until the cache contains a Deployment that was just written. A watch needs milliseconds.
const CACHED_WITHIN: Duration = Duration::from_secs(5);

/// The slot of an object among the rollouts.
pub enum RolloutSlot<'a> {
    /// Its rollout is not limited, or there is none.
    Free,

    /// It begins a rollout. No other limited rollout begins until the cache contains this one, so that the caches are enough to
    /// count those that run.
    Taken {
        /// Released when the cache contains the rollout.
        guard: MutexGuard<'a, ()>,

        /// The caches.
        stores: &'a Stores,
    },

    /// It waits.
    Full,
}

impl<'a> RolloutSlot<'a> {
    /// Takes a slot for an object, if its rollout needs one and one is free. While another rollout begins, none is free: a
    /// reconcile that waited here would keep edits and revocations of other objects from theirs.
    pub(in crate::controller) fn of(
        context: &'a Context,
        server: &McpServer,
        desired: &Deployment,
        found: &ClusterState,
    ) -> Self {
        let now = context.now();
        if !super::is_caused_by_upgrade(server, desired, &found.existing.children, now) {
            return Self::Free;
        }
        let stores = &context.sources.stores;
        // The lock comes first: its last holder waited until the caches contain its rollout.
        let Ok(guard) = context.rollouts.try_lock() else {
            return Self::Full;
        };
        let deployments = stores.deployments();
        let rollouts = deployments.iter().map(|deployment| *deployment.summary());
        if super::has_room(context.defaults.max_rollouts, rollouts, now) {
            Self::Taken { guard, stores }
        } else {
            Self::Full
        }
    }

    /// Returns whether the Pods may be replaced.
    pub fn decision(&self) -> RolloutDecision {
        match self {
            Self::Free | Self::Taken { .. } => RolloutDecision::Now,
            Self::Full => RolloutDecision::Waits,
        }
    }

    /// Lets the next rollout begin, once the cache contains this one. Called as soon as the Deployment is written, because a
    /// step after it may fail.
    pub async fn release(self, written: &Deployment) {
        let Self::Taken {
            guard: _guard,
            stores,
        } = self
        else {
            return;
        };
        let (namespace, name) = (written.namespace().unwrap_or_default(), written.name_any());
        let is_cached = || {
            let cached = stores.deployment(&namespace, &name);
            cached.is_some_and(|cached| cached.meta().generation >= written.metadata.generation)
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
