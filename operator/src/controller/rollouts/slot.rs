//! The slot of an object among the rollouts that run at a time.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::{Mutex, MutexGuard};

use super::RolloutDecision;
use crate::api::v1alpha1::McpServer;
use crate::controller::children::ExistingChildren;
use crate::controller::max_rollouts::MaxRollouts;
use crate::controller::watches::{Stores, wait_until_cached};

/// Maximum time until the cache contains a Deployment that was just written. A watch needs milliseconds.
const CACHED_WITHIN: Duration = Duration::from_secs(5);

/// The rollouts of all objects.
#[derive(Debug)]
pub struct Rollouts {
    limit: MaxRollouts,

    /// Held while a limited rollout begins, until the cache contains it.
    beginning: Mutex<()>,
}

/// The slot of an object among the rollouts.
pub enum RolloutSlot<'a> {
    /// Its rollout is not limited, or there is none.
    Unlimited,

    /// It begins a rollout. No other limited rollout begins until the cache contains this one, so that the caches are enough to
    /// count those that run.
    Acquired {
        /// Released when the cache contains the rollout.
        guard: MutexGuard<'a, ()>,

        /// The caches that will contain this rollout.
        stores: &'a Stores,
    },

    /// It waits.
    Waiting,
}

impl Rollouts {
    /// Limits the rollouts to `limit` at a time.
    pub fn limited_to(limit: MaxRollouts) -> Self {
        Self {
            limit,
            beginning: Mutex::default(),
        }
    }

    /// Takes a slot for an object, if its rollout needs one and one is free. While another rollout begins, none is free: a
    /// reconcile that waited here would keep edits and revocations of other objects from theirs.
    pub(in crate::controller) fn acquire<'a>(
        &'a self,
        stores: &'a Stores,
        server: &McpServer,
        desired: &Deployment,
        existing: &ExistingChildren,
        now: Timestamp,
    ) -> RolloutSlot<'a> {
        if !super::is_caused_by_upgrade(server, desired, existing, now) {
            return RolloutSlot::Unlimited;
        }
        // The lock comes first: its last holder waited until the caches contain its rollout.
        let Ok(guard) = self.beginning.try_lock() else {
            return RolloutSlot::Waiting;
        };
        let deployments = stores.deployments();
        let rollouts = deployments.iter().map(|deployment| *deployment.summary());
        if super::has_room(self.limit, rollouts, now) {
            RolloutSlot::Acquired { guard, stores }
        } else {
            RolloutSlot::Waiting
        }
    }
}

impl RolloutSlot<'_> {
    /// Returns whether the Pods may be replaced.
    pub fn decision(&self) -> RolloutDecision {
        match self {
            Self::Unlimited | Self::Acquired { .. } => RolloutDecision::Now,
            Self::Waiting => RolloutDecision::Waits,
        }
    }

    /// Lets the next rollout begin, once the cache contains this one. Called as soon as the Deployment is written, because a
    /// step after it may fail.
    pub async fn release(self, written: &Deployment) {
        let Self::Acquired {
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
        if !wait_until_cached(CACHED_WITHIN, is_cached).await {
            tracing::warn!(
                mcp_server.name = format!("{namespace}/{name}"),
                "Deployment of {namespace}/{name} is written and not in the cache yet; one rollout too many may begin"
            );
        }
    }
}
