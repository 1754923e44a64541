//! The order in which the children are written and deleted.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Client, ResourceExt as _};

use super::ApplyError;
use super::server_side_apply::{self, Writer, scale_to_zero};
use super::stored_forms::StoredForms;
use crate::api::v1alpha1::McpServer;
use crate::controller::children::{
    Applied, Built, ChildKind as _, Children, Existing, WatchedKind, watched_children,
};
use crate::controller::names;
use crate::controller::rollouts::{self, RolloutDecision, RolloutSlot};

/// Creates the keyring. It must not exist yet. If another writer was faster, the next reconcile
/// reads the Secret of that writer.
pub async fn create_keyring(client: &Client, keyring: Secret) -> Result<Secret, ApplyError> {
    server_side_apply::create(client, keyring).await
}

/// Replaces the keyring that was read. If another writer was faster, the API server refuses the request, and the next
/// reconcile reads the keyring of that writer: no key is lost.
pub async fn replace_keyring(client: &Client, keyring: Secret) -> Result<Secret, ApplyError> {
    server_side_apply::replace(client, keyring).await
}

/// Writes every child, or with [`RolloutDecision::Waits`] those that are missing. The order makes sure that everything that a
/// Pod needs exists before the Pod. A keyring was written before ([`create_keyring`], [`replace_keyring`]).
pub async fn apply(
    client: &Client,
    stored_forms: &StoredForms,
    children: Children<Built>,
    existing: &Existing,
    slot: RolloutSlot<'_>,
) -> Result<Children<Applied>, ApplyError> {
    let decision = slot.decision();
    let writer = Writer {
        client,
        stored_forms,
        decision,
    };
    // No `..`: a new child does not compile until it has a place in this order.
    let Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        pod_disruption_budget,
        http_route,
        service,
        deployment,
        state: _,
    } = children;
    // The Pods name it.
    let service_account = match service_account {
        Some(service_account) => Some(put(writer, service_account, existing).await?),
        None => None,
    };
    let config_map = if let Some(current) = current_configuration(decision, &deployment, existing) {
        current.clone()
    } else {
        let current = existing.children.named(&config_map.name_any());
        writer.put_immutable(config_map, current).await?
    };
    // The network is closed before a Pod runs.
    let network_policy = match network_policy {
        Some(network_policy) => Some(put(writer, network_policy, existing).await?),
        None => None,
    };
    // Before the Pods that it protects.
    let pod_disruption_budget = match pod_disruption_budget {
        Some(budget) => Some(put(writer, budget, existing).await?),
        None => None,
    };
    let service = put(writer, service, existing).await?;
    // After everything that a Pod needs, so that one edit causes one rollout.
    let deployment = Box::pin(put(writer, deployment, existing)).await?;
    slot.release(&deployment).await;
    // The Pods do not need it: a cluster that refuses it must not keep them from a change.
    let http_route = match http_route {
        Some(http_route) => Some(put(writer, http_route, existing).await?),
        None => None,
    };
    let children = Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        pod_disruption_budget,
        http_route,
        service,
        deployment,
        state: PhantomData,
    };
    // Pods that stay need what they were made with.
    if decision == RolloutDecision::Now {
        prune(writer, &children, existing).await?;
    }
    Ok(children)
}

/// Returns the configuration of Pods that stay as they are. The new one would belong to no Pod.
fn current_configuration<'a>(
    decision: RolloutDecision,
    deployment: &Deployment,
    existing: &'a Existing,
) -> Option<&'a ConfigMap> {
    let live = existing.children.named::<Deployment>(&deployment.name_any());
    let current = live.filter(|_| decision == RolloutDecision::Waits)?;
    rollouts::configuration(current, &existing.children)
}

async fn put<K: WatchedKind>(writer: Writer<'_>, child: K, existing: &Existing) -> Result<K, ApplyError> {
    let current = existing.children.named(&child.name_any());
    writer.put(child, current).await
}

/// Deletes the children that are no longer used. The Deployment does not refer to them any more.
async fn prune(
    writer: Writer<'_>,
    children: &Children<Applied>,
    existing: &Existing,
) -> Result<(), ApplyError> {
    let owner = names::controller_uid(&children.deployment.metadata);
    macro_rules! delete_unused {
        ($($name:ident: $kind:ty,)*) => {
            $(for child in &existing.children.$name {
                if child.is_unused(children, existing) {
                    writer.delete(child.as_ref(), owner).await?;
                }
            })*
        };
    }
    watched_children!(delete_unused);
    Ok(())
}

/// Stops the Pods of a refused object that is suspended. It writes no other child.
pub async fn suspend(client: &Client, server: &McpServer, existing: &Existing) -> Result<(), ApplyError> {
    let owner = server.metadata.uid.as_deref();
    let deployment = existing.children.named::<Deployment>(&server.name_any());
    let running = deployment.filter(|deployment| {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        owner.is_some() && names::controller_uid(&deployment.metadata) == owner && replicas != Some(0)
    });
    match running {
        Some(deployment) => scale_to_zero(client, deployment).await,
        None => Ok(()),
    }
}
