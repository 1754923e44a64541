//! Writes the children. Server-side apply, one field manager; nothing that belongs to somebody else is
//! touched, and nothing that is already so is written.

mod unchanged;

use std::fmt::Debug;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::children::{Applied, Built, Children};
use super::found::Live;
use super::names::{self, FIELD_MANAGER};
use super::validate::Refusal;

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

        /// What the API server said.
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
        /// What was tried.
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
    children: Children<Built>,
    live: &Live,
) -> Result<Children<Applied>, ApplyError> {
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
        Some(service_account) => Some(put(client, service_account, live.service_account.as_deref()).await?),
        None => None,
    };
    // Both are mounted.
    let keyring = match keyring {
        Some(keyring) => Some(create(client, keyring).await?),
        None => None,
    };
    let current = config_map.name_any();
    let live_config_map = live
        .config_maps
        .iter()
        .find(|config_map| config_map.name_any() == current);
    let config_map = put_content(client, config_map, live_config_map.map(AsRef::as_ref)).await?;
    // Closed before anything runs.
    let network_policy = match network_policy {
        Some(network_policy) => Some(put(client, network_policy, live.network_policy.as_deref()).await?),
        None => None,
    };
    let service = put(client, service, live.service.as_deref()).await?;
    // Last: one rollout, not two.
    let deployment = put(client, deployment, live.deployment.as_deref()).await?;
    let children = Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        service,
        deployment,
        state: PhantomData,
    };
    prune(client, &children, live).await?;
    Ok(children)
}

/// Deletes what the spec no longer asks for, after the Deployment let go of it.
async fn prune(client: &Client, children: &Children<Applied>, live: &Live) -> Result<(), ApplyError> {
    let owner = names::controller_uid(&children.deployment.metadata);
    if children.network_policy.is_none()
        && let Some(stale) = live.network_policy.as_deref()
    {
        delete(client, stale, owner).await?;
    }
    if children.service_account.is_none()
        && let Some(stale) = live.service_account.as_deref()
    {
        delete(client, stale, owner).await?;
    }
    for stale in unused_configurations(children, live) {
        delete(client, stale, owner).await?;
    }
    Ok(())
}

/// Older configurations that no Pod was made with. One that is in use stays until the rollout is over.
fn unused_configurations<'a>(
    children: &Children<Applied>,
    live: &'a Live,
) -> impl Iterator<Item = &'a ConfigMap> {
    let current = children.config_map.name_any();
    live.config_maps
        .iter()
        .map(AsRef::as_ref)
        .filter(move |config_map| {
            let name = config_map.name_any();
            let used = live.pods.iter().any(|pod| {
                pod.annotations()
                    .get(names::CONFIGURATION_ANNOTATION)
                    .is_some_and(|configuration| *configuration == name)
            });
            name != current && !used
        })
}

/// Applies a child unless it is so already.
async fn put<K: Child>(client: &Client, mut child: K, live: Option<&K>) -> Result<K, ApplyError> {
    let (kind, name) = (K::KIND, child.name_any());
    let api: Api<K> = Api::namespaced(client.clone(), &child.namespace().unwrap_or_default());
    unchanged::stamp(&mut child).map_err(|source| ApplyError::Json { kind, source })?;
    let owner = names::controller_uid(child.meta());
    // What was judged is what is written: with its UID, an object that took its name meanwhile is refused.
    let uid = if let Some(live) = live {
        if names::controller_uid(live.meta()) != owner {
            return Err(ApplyError::Foreign { kind, name });
        }
        if unchanged::is_within(&child, live).map_err(|source| ApplyError::Json { kind, source })? {
            return Ok(live.clone());
        }
        live.uid()
    } else {
        // The caches hold only what carries our labels; a namesake without them is seen here.
        let existing = api
            .get_metadata_opt(&name)
            .await
            .map_err(|error| failed("read", kind, &name, error))?;
        match existing {
            Some(existing) if names::controller_uid(&existing.metadata) != owner => {
                return Err(ApplyError::Foreign { kind, name });
            }
            existing => existing.and_then(|existing| existing.metadata.uid),
        }
    };
    child.meta_mut().uid = uid;
    match force(&api, &name, &child).await {
        Err(rejected @ ApplyError::Rejected { .. }) if live.is_some() => {
            repair(&api, &name, &child).await.map_err(|_| rejected)?;
            force(&api, &name, &child).await
        }
        applied => applied,
    }
}

/// The same for what is immutable: where somebody put another content into its place, it is made anew. Pods do
/// not run with the other one, they know the digest.
async fn put_content(
    client: &Client,
    config_map: ConfigMap,
    live: Option<&ConfigMap>,
) -> Result<ConfigMap, ApplyError> {
    let (owner, name) = (names::controller_uid(&config_map.metadata), config_map.name_any());
    let is_other = |live: &&ConfigMap| {
        let ours = config_map.data.iter().flatten();
        let theirs = |key| live.data.as_ref().and_then(|data| data.get(key));
        live.immutable == Some(true)
            && names::controller_uid(&live.metadata) == owner
            && ours.into_iter().any(|(key, text)| theirs(key) != Some(text))
    };
    let other = match live.filter(is_other) {
        Some(other) => other.clone(),
        None => match put(client, config_map.clone(), live).await {
            // Without our labels it is not in the cache.
            Err(rejected @ ApplyError::Rejected { .. }) => {
                let api: Api<ConfigMap> =
                    Api::namespaced(client.clone(), &config_map.namespace().unwrap_or_default());
                let found = api.get_opt(&name).await;
                let found = found.map_err(|error| failed("read", ConfigMap::KIND, &name, error))?;
                found.filter(|found| is_other(&found)).ok_or(rejected)?
            }
            done => return done,
        },
    };
    delete(client, &other, owner).await?;
    match put(client, config_map.clone(), None).await {
        Err(ApplyError::Rejected { kind, name, .. }) => Err(ApplyError::Remains { kind, name }),
        done => done,
    }
}

/// Server-side apply. What others changed in our fields is put right, their own fields are left alone. What
/// was not there is not forced: if somebody made it a moment ago, that is a conflict, and the next pass judges
/// whose it is.
async fn force<K: Child>(api: &Api<K>, name: &str, child: &K) -> Result<K, ApplyError> {
    let parameters = PatchParams {
        force: child.meta().uid.is_some(),
        ..PatchParams::apply(FIELD_MANAGER)
    };
    api.patch(name, &parameters, &Patch::Apply(child))
        .await
        .map_err(|error| failed("apply", K::KIND, name, error))
}

/// Replaces whole lists, where what others left in them stands beside ours and makes the object invalid: a
/// Service's port that somebody gave another number is another entry, of the same name.
async fn repair<K: Child>(api: &Api<K>, name: &str, child: &K) -> Result<(), ApplyError> {
    let json = |source| ApplyError::Json {
        kind: K::KIND,
        source,
    };
    let spec = serde_json::to_value(child).map_err(json)?.get("spec").cloned();
    let patch = Patch::Merge(serde_json::json!({"metadata": {"uid": child.meta().uid}, "spec": spec}));
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &parameters, &patch)
        .await
        .map(|_| ())
        .map_err(|error| failed("repair", K::KIND, name, error))
}

/// Creates a child that must not exist yet. Whoever was faster wins, and the next pass reads what they wrote.
async fn create<K: Child>(client: &Client, child: K) -> Result<K, ApplyError> {
    let name = child.name_any();
    let api: Api<K> = Api::namespaced(client.clone(), &child.namespace().unwrap_or_default());
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    api.create(&parameters, &child)
        .await
        .map_err(|error| failed("create", K::KIND, &name, error))
}

/// Deletes exactly the object that was seen, and only if it is ours.
async fn delete<K: Child>(client: &Client, stale: &K, owner: Option<&str>) -> Result<(), ApplyError> {
    if owner.is_none()
        || names::controller_uid(stale.meta()) != owner
        || stale.meta().deletion_timestamp.is_some()
    {
        return Ok(());
    }
    let name = stale.name_any();
    let api: Api<K> = Api::namespaced(client.clone(), &stale.namespace().unwrap_or_default());
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: stale.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &parameters).await {
        Ok(_) => Ok(()),
        // Gone, or replaced by another of the same name: either way not the one that was meant.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(failed("delete", K::KIND, &name, error)),
    }
}

fn failed(verb: &'static str, kind: &'static str, name: &str, error: kube::Error) -> ApplyError {
    let name = name.to_owned();
    match error {
        kube::Error::Api(status) if status.is_invalid() && !is_another_object(&status) => {
            ApplyError::Rejected {
                kind,
                name,
                message: status.message,
            }
        }
        error => ApplyError::Request {
            verb,
            kind,
            name,
            source: Box::new(error),
        },
    }
}

/// An object that took the name of the one that was read has another UID, which the API server calls an invalid
/// change. The next pass reads the other one.
fn is_another_object(status: &kube::core::Status) -> bool {
    status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.field == "metadata.uid")
}

#[cfg(test)]
mod tests;
