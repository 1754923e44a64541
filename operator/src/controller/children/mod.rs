//! Every object that one `McpServer` owns, and how it is built from a plan. Pure; one file for each kind of child.

mod config_map;
mod deployment;
mod existing;
mod http_route;
mod keyring;
mod network_policy;
mod pod_disruption_budget;
pub mod revocations;
mod service;
mod service_account;
#[cfg(test)]
mod tests;

pub use config_map::Configuration;
pub(in crate::controller) use deployment::keyring_of;
pub(in crate::controller) use existing::watched_children;
pub use existing::{ChildKind, Existing, ExistingChildren, WatchedKind};
pub use http_route::{HttpRoute, ParentRef as RouteParent, RouteCondition, RouteParentStatus};
pub(in crate::controller) use keyring::{CLIENTS, SESSIONS};
pub use keyring::{FreshKey, FreshKeys};

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::v1alpha1::{McpServer, NetworkPolicyMode};
use crate::controller::names;
use crate::controller::plan::{Plan, ServiceAccountPlan};

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

/// A file that could not be written as text. Only a defect of this program can cause it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A configuration file.
    #[error("failed to write {file}")]
    Configuration {
        /// The file.
        file: &'static str,

        /// The cause.
        #[source]
        source: serde_yaml::Error,
    },

    /// The Pod template.
    #[error("failed to write the Pod template as JSON")]
    Template(#[source] serde_json::Error),

    /// The revocations.
    #[error("failed to write the revocations")]
    Revocations(#[source] serde_json::Error),

    /// The keyring.
    #[error("failed to write the keyring")]
    Keyring(#[source] serde_json::Error),
}

/// Builds every child. `fresh` contains the keys of a new keyring; without it no keyring is built.
pub fn build(plan: &Plan, fresh: Option<FreshKeys>) -> Result<Children<Built>, BuildError> {
    let configuration = Configuration::render(plan)?;
    Ok(Children {
        service_account: match plan.service_account {
            ServiceAccountPlan::Own => Some(service_account::build(plan)),
            ServiceAccountPlan::Given(_) => None,
        },
        keyring: fresh.map(|fresh| keyring::build(plan, fresh)).transpose()?,
        config_map: config_map::build(plan, &configuration),
        network_policy: match plan.network.policy {
            NetworkPolicyMode::Restricted => Some(network_policy::build(plan)),
            NetworkPolicyMode::Open => None,
        },
        pod_disruption_budget: pod_disruption_budget::build(plan),
        http_route: http_route::build(plan),
        service: service::build(plan),
        deployment: deployment::build(plan, &configuration)?,
        state: PhantomData,
    })
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

/// The annotations that name the configuration of an object.
fn configuration_annotations(configuration: &Configuration) -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            names::CONFIGURATION_ANNOTATION.to_owned(),
            configuration.config_map_name.clone(),
        ),
        (
            names::SIDECAR_DIGEST_ANNOTATION.to_owned(),
            configuration.sidecar_digest.clone(),
        ),
    ])
}
