//! Every object that one `McpServer` owns, and how it is built from a plan. Pure; one file for each kind of child.

mod build;
mod config_map;
mod deployment;
mod error;
mod existing;
mod gateway_api;
mod http_route;
mod keyring;
mod network_policy;
mod pod_disruption_budget;
pub mod revocations;
mod service;
mod service_account;
#[cfg(test)]
mod tests;

pub use build::build;
pub use config_map::Configuration;
pub use deployment::PROGRESS_DEADLINE_SECONDS;
pub(in crate::controller) use deployment::keyring_of;
pub use error::BuildError;
pub(in crate::controller) use existing::watched_children;
pub use existing::{ChildKind, Existing, ExistingChildren, WatchedKind};
pub use gateway_api::{HttpRoute, RouteCondition, RouteParent, RouteParentStatus};

pub(in crate::controller) use keyring::{CLIENTS, SESSIONS};
pub use keyring::{FreshKey, FreshKeys};

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::v1alpha1::McpServer;
use crate::controller::names;
use crate::controller::plan::Plan;

/// Marks children that were built and not yet written.
#[derive(Debug, Clone, Copy)]
pub struct Built;

/// Marks children as the API server returned them.
#[derive(Debug, Clone, Copy)]
pub struct Applied;

/// The children in the state `S`.
#[derive(Debug, Clone)]
pub struct Children<S> {
    /// Absent when the object names an existing one.
    pub service_account: Option<ServiceAccount>,

    /// Present only if this reconcile made the keyring or took a step of its rotation.
    pub keyring: Option<Secret>,

    /// The files of both containers; its name contains their digest.
    pub config_map: ConfigMap,

    /// Absent with `network.policy: Open`.
    pub network_policy: Option<NetworkPolicy>,

    /// Present from two Pods on.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,

    /// Present with `spec.route`.
    pub http_route: Option<HttpRoute>,

    /// The public port.
    pub service: Service,

    /// The Pods.
    pub deployment: Deployment,

    pub(in crate::controller) state: PhantomData<S>,
}

#[cfg(test)]
impl Children<Built> {
    /// As if the API server had returned each child unchanged.
    pub(in crate::controller) fn applied(self) -> Children<Applied> {
        let Self {
            service_account,
            keyring,
            config_map,
            network_policy,
            pod_disruption_budget,
            http_route,
            service,
            deployment,
            state: _,
        } = self;
        Children {
            service_account,
            keyring,
            config_map,
            network_policy,
            pod_disruption_budget,
            http_route,
            service,
            deployment,
            state: PhantomData,
        }
    }

    /// As if the caches contained each child unchanged.
    pub(in crate::controller) fn existing(self) -> ExistingChildren {
        use std::sync::Arc;
        ExistingChildren {
            service_accounts: self.service_account.into_iter().map(Arc::new).collect(),
            config_maps: vec![Arc::new(self.config_map)],
            network_policies: self.network_policy.into_iter().map(Arc::new).collect(),
            pod_disruption_budgets: self.pod_disruption_budget.into_iter().map(Arc::new).collect(),
            http_routes: self.http_route.into_iter().map(Arc::new).collect(),
            services: vec![Arc::new(self.service)],
            deployments: vec![Arc::new(self.deployment)],
        }
    }
}

/// Returns the reference to the object in each child. `None` only for an object that the API server has not stored.
pub fn owner(server: &McpServer) -> Option<OwnerReference> {
    Some(OwnerReference {
        // Blocking would need the right to change finalizers, and nothing here waits for a child.
        block_owner_deletion: None,
        ..server.controller_owner_ref(&())?
    })
}

/// The metadata that every child of a plan has.
fn metadata(plan: &Plan, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(plan.object.namespace.clone()),
        labels: Some(plan.child_labels.overridden_by(names::labels(&plan.object.name))),
        owner_references: Some(vec![plan.owner.clone()]),
        ..ObjectMeta::default()
    }
}
