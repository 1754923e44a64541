//! Writes the children, in order. It changes no object of another owner, and writes no child that is already
//! up to date.

mod managed_fields;
mod server_side_apply;
pub mod stored_forms;
mod unchanged;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::controller::children::{Applied, Built, Children};
use crate::controller::dereference::dereferenced::Live;
use crate::controller::names;
use crate::controller::validate::Refusal;
use server_side_apply::Writer;
use stored_forms::StoredForms;

/// A child that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It exists and belongs to somebody else.
    #[error("{kind} {name} belongs to somebody else")]
    Foreign {
        /// The child's kind.
        kind: &'static str,

        /// Its name.
        name: String,
    },

    /// The API server finds it invalid: the spec holds what only the API server can judge.
    #[error("the API server refuses {kind} {name}: {message}")]
    Rejected {
        /// The child's kind.
        kind: &'static str,

        /// Its name.
        name: String,

        /// The API server's message.
        message: String,
    },

    /// Admission or a quota refuses the child.
    #[error("the cluster does not admit {kind} {name}: {message}")]
    Denied {
        /// The child's kind.
        kind: &'static str,

        /// Its name.
        name: String,

        /// The API server's message.
        message: String,
    },

    /// Somebody put another content into its place, and the object does not go away.
    #[error("{kind} {name} was replaced by somebody and is not deleted: remove its finalizers")]
    Remains {
        /// The child's kind.
        kind: &'static str,

        /// Its name.
        name: String,
    },

    /// The request failed.
    #[error("failed to {verb} {kind} {name}")]
    Request {
        /// The operation that failed.
        verb: &'static str,

        /// The child's kind.
        kind: &'static str,

        /// Its name.
        name: String,

        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },

    /// It could not be written as JSON. Only a defect of this program can cause it.
    #[error("failed to write {kind} as JSON")]
    Json {
        /// The child's kind.
        kind: &'static str,

        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl ApplyError {
    /// What the user can do about it, when it is not the operator's business to try again.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Foreign { kind, name } => Some(Refusal::NameTaken {
                kind,
                name: name.clone(),
            }),
            Self::Rejected { kind, name, message } => Some(Refusal::ChildRejected {
                kind,
                name: name.clone(),
                message: message.clone(),
            }),
            Self::Denied { kind, name, message } => Some(Refusal::ChildDenied {
                kind,
                name: name.clone(),
                message: message.clone(),
            }),
            Self::Remains { .. } | Self::Request { .. } | Self::Json { .. } => None,
        }
    }
}

/// A kind of child.
pub trait Child:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
    /// As users call it.
    const KIND: &'static str;
}

macro_rules! children {
    ($($kind:ident: $path:path),* $(,)?) => {
        $(impl Child for $path { const KIND: &'static str = stringify!($kind); })*
    };
}

children! {
    ServiceAccount: k8s_openapi::api::core::v1::ServiceAccount,
    Secret: k8s_openapi::api::core::v1::Secret,
    ConfigMap: k8s_openapi::api::core::v1::ConfigMap,
    Service: k8s_openapi::api::core::v1::Service,
    NetworkPolicy: k8s_openapi::api::networking::v1::NetworkPolicy,
    Deployment: k8s_openapi::api::apps::v1::Deployment,
}

/// Writes every child in an order in which a Pod never sees less than it needs.
pub async fn apply(
    client: &Client,
    stored_forms: &StoredForms,
    children: Children<Built>,
    live: &Live,
) -> Result<Children<Applied>, ApplyError> {
    let writer = Writer { client, stored_forms };
    // No `..`: a new child does not compile until it has a place in this order.
    let Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        service,
        deployment,
        state: _,
    } = children;
    // The Pod names it.
    let service_account = match service_account {
        Some(service_account) => Some(
            writer
                .put(service_account, live.service_account.as_deref())
                .await?,
        ),
        None => None,
    };
    // Both are mounted.
    let keyring = match keyring {
        Some(keyring) => Some(writer.create(keyring).await?),
        None => None,
    };
    let current = config_map.name_any();
    let live_config_map = live
        .config_maps
        .iter()
        .find(|config_map| config_map.name_any() == current);
    let config_map = writer
        .put_content(config_map, live_config_map.map(AsRef::as_ref))
        .await?;
    // Closed before anything runs.
    let network_policy = match network_policy {
        Some(network_policy) => Some(writer.put(network_policy, live.network_policy.as_deref()).await?),
        None => None,
    };
    let service = writer.put(service, live.service.as_deref()).await?;
    // Last: one rollout, not two.
    let deployment = Box::pin(writer.put(deployment, live.deployment.as_deref())).await?;
    let children = Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        service,
        deployment,
        state: PhantomData,
    };
    prune(writer, &children, live).await?;
    Ok(children)
}

/// Stops the Pods of a refused object that is suspended. It writes no other child.
pub async fn suspend(client: &Client, owner: Option<&str>, live: &Live) -> Result<(), ApplyError> {
    let running = live.deployment.as_deref().filter(|deployment| {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        owner.is_some() && names::controller_uid(&deployment.metadata) == owner && replicas != Some(0)
    });
    match running {
        Some(deployment) => server_side_apply::scale_to_zero(client, deployment).await,
        None => Ok(()),
    }
}

/// Deletes what the spec no longer asks for, after the Deployment let go of it.
async fn prune(writer: Writer<'_>, children: &Children<Applied>, live: &Live) -> Result<(), ApplyError> {
    let owner = names::controller_uid(&children.deployment.metadata);
    if children.network_policy.is_none()
        && let Some(stale) = live.network_policy.as_deref()
    {
        writer.delete(stale, owner).await?;
    }
    if children.service_account.is_none()
        && let Some(stale) = live.service_account.as_deref()
    {
        writer.delete(stale, owner).await?;
    }
    for stale in unused_configurations(children, live) {
        writer.delete(stale, owner).await?;
    }
    Ok(())
}

/// Returns the older configurations that no Pod and no existing `ReplicaSet` uses. A `ReplicaSet` without
/// Pods may be scaled up again, by a rollback or during a rollout.
fn unused_configurations<'a>(
    children: &Children<Applied>,
    live: &'a Live,
) -> impl Iterator<Item = &'a ConfigMap> {
    let current = children.config_map.name_any();
    let of_pods = live.pods.iter().map(|pod| pod.annotations());
    let of_replica_sets = live.replica_sets.iter().filter_map(|replica_set| {
        let template = replica_set.spec.as_ref()?.template.as_ref()?;
        template.metadata.as_ref()?.annotations.as_ref()
    });
    let used: BTreeSet<&String> = of_pods
        .chain(of_replica_sets)
        .filter_map(|annotations| annotations.get(names::CONFIGURATION_ANNOTATION))
        .collect();
    live.config_maps
        .iter()
        .map(AsRef::as_ref)
        .filter(move |config_map| {
            let name = config_map.name_any();
            name != current && !used.contains(&name)
        })
}

#[cfg(test)]
mod tests;
