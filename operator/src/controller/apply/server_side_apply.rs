//! Writes one child. It creates a missing child, applies over an existing one, and never adopts an object of
//! another owner.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::stored_forms::StoredForms;
use super::{ApplyError, unchanged};
use crate::controller::children::ChildKind;
use crate::controller::managed_fields;
use crate::controller::names;
use crate::controller::rollouts::RolloutDecision;
use crate::error_chain;
use crate::field_manager::FIELD_MANAGER;

/// Writes children to the API server and remembers their stored forms.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) stored_forms: &'a StoredForms,

    /// With [`RolloutDecision::Waits`], an existing child keeps its content if another release of the operator applied it, because
    /// that release also made the Pods. A missing child is created, and what others changed is repaired.
    pub(super) decision: RolloutDecision,
}

impl Writer<'_> {
    pub(super) fn api<K: ChildKind>(&self, child: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &child.namespace().unwrap_or_default())
    }

    /// Creates or applies a child, unless it is already up to date.
    pub(super) async fn put<K: ChildKind>(&self, mut child: K, live: Option<&K>) -> Result<K, ApplyError> {
        let (kind, name) = (K::KIND, child.name_any());
        unchanged::stamp(&mut child).map_err(|source| ApplyError::Json { kind, source })?;
        if let Some(live) = live {
            return self.put_over(child, live).await;
        }
        // The caches contain only objects with this operator's labels. A child that exists but is not cached
        // has lost its labels, was just created, or belongs to another owner.
        let api = self.api(&child);
        let refused = match api.create(&written_by_us(), &child).await {
            Ok(created) => return Ok(created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => kube::Error::Api(status),
            Err(error) => return Err(failed("create", kind, &name, error)),
        };
        let existing = api.get_opt(&name).await;
        match existing.map_err(|error| failed("read", kind, &name, error))? {
            Some(existing) => self.put_over(child, &existing).await,
            // The object was deleted in between; the next reconcile creates it.
            None => Err(failed("create", kind, &name, refused)),
        }
    }

    /// Applies a stamped child over the object of the same name, if this operator owns that object.
    async fn put_over<K: ChildKind>(&self, mut child: K, live: &K) -> Result<K, ApplyError> {
        let (kind, name) = (K::KIND, child.name_any());
        let json = |source| ApplyError::Json { kind, source };
        let owner = names::controller_uid(child.meta()).unwrap_or_default().to_owned();
        if names::controller_uid(live.meta()) != Some(owner.as_str()) {
            return Err(ApplyError::Foreign { kind, name });
        }
        if unchanged::is_within(&child, live).map_err(json)? {
            return Ok(live.clone());
        }
        if self.decision == RolloutDecision::Waits && !unchanged::same_stamp(&child, live) {
            return Ok(live.clone());
        }
        // The stamp on the live child is the digest of the last applied spec. A different spec is always
        // applied.
        if unchanged::same_stamp(&child, live)
            && self.stored_forms.is_known(&owner, kind, live).map_err(json)?
        {
            return Ok(live.clone());
        }
        let api = self.api(&child);
        // The policy of a cluster-wide installation refuses each write of an object without the operator's labels, other than an
        // apply, which puts them back.
        let is_labelled = child
            .labels()
            .iter()
            .all(|(key, value)| live.labels().get(key) == Some(value));
        if is_labelled && managed_fields::has_unapplied(live.managed_fields()) {
            // First: otherwise a field that is no longer applied stays until it is applied a second time, and a Deployment would
            // roll out twice.
            let whole = api.get(&name).await;
            let whole = whole.map_err(|error| failed("read", kind, &name, error))?;
            own_as_applied(&api, &whole).await?;
        }
        // The UID makes the API server refuse the request if another object has taken the name meanwhile.
        child.meta_mut().uid = live.uid();
        let mut applied = apply_over(&api, &name, &child).await?;
        if managed_fields::as_applied(applied.managed_fields()).is_some() {
            own_as_applied(&api, &applied).await?;
            applied = force(&api, &name, &child).await?;
        }
        if !unchanged::is_within(&child, &applied).map_err(json)? {
            self.stored_forms.remember(&owner, kind, &applied).map_err(json)?;
        }
        Ok(applied)
    }

    /// Deletes exactly the object that was read, and only if this operator owns it.
    pub(super) async fn delete<K: ChildKind>(
        &self,
        stale: &K,
        owner: Option<&str>,
    ) -> Result<(), ApplyError> {
        if owner.is_none()
            || names::controller_uid(stale.meta()) != owner
            || stale.meta().deletion_timestamp.is_some()
        {
            return Ok(());
        }
        let name = stale.name_any();
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: stale.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api(stale).delete(&name, &parameters).await {
            Ok(_) => Ok(()),
            // The object is deleted, or another one has taken its name. The other one must not be deleted.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(failed("delete", K::KIND, &name, error)),
        }
    }
}

/// Creates a child that must not exist yet.
pub(super) async fn create<K: ChildKind>(client: &Client, child: K) -> Result<K, ApplyError> {
    let api: Api<K> = Api::namespaced(client.clone(), &child.namespace().unwrap_or_default());
    api.create(&written_by_us(), &child)
        .await
        .map_err(|error| failed("create", K::KIND, &child.name_any(), error))
}

/// Replaces a child in the version that was read. The API server refuses it if the child has changed since.
pub(super) async fn replace<K: ChildKind>(client: &Client, child: K) -> Result<K, ApplyError> {
    let api: Api<K> = Api::namespaced(client.clone(), &child.namespace().unwrap_or_default());
    let name = child.name_any();
    api.replace(&name, &written_by_us(), &child)
        .await
        .map_err(|error| failed("update", K::KIND, &name, error))
}

/// Maximum number of attempts to write the entries of an object that changes at the same time.
const OWN_TRIES: u32 = 3;

fn written_by_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Applies over an object that this operator owns, and repairs the object if the result would be invalid.
async fn apply_over<K: ChildKind>(api: &Api<K>, name: &str, child: &K) -> Result<K, ApplyError> {
    match force(api, name, child).await {
        Err(rejected @ ApplyError::Rejected { .. }) => {
            match repair(api, name, child).await {
                Ok(()) => force(api, name, child).await,
                // The first error is about the child as this operator built it, so that one is reported.
                Err(ApplyError::Rejected { .. }) => Err(rejected),
                Err(error) => Err(error),
            }
        }
        applied => applied,
    }
}

/// Makes a server-side apply. It restores the fields that this operator owns and leaves the fields of others
/// unchanged.
async fn force<K: ChildKind>(api: &Api<K>, name: &str, child: &K) -> Result<K, ApplyError> {
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(child))
        .await
        .map_err(|error| failed("apply", K::KIND, name, error))
}

/// Replaces whole lists in which an entry of another writer makes the object invalid. Example: a user
/// changes the number of a Service's port; apply then adds a second port with the same name.
async fn repair<K: ChildKind>(api: &Api<K>, name: &str, child: &K) -> Result<(), ApplyError> {
    let json = |source| ApplyError::Json {
        kind: K::KIND,
        source,
    };
    let spec = serde_json::to_value(child).map_err(json)?.get("spec").cloned();
    let patch = json!({"metadata": {"uid": child.meta().uid}, "spec": spec});
    merge(api, name, &patch)
        .await
        .map(|_| ())
        .map_err(|error| failed("repair", K::KIND, name, error))
}

/// Stops the Pods of exactly the Deployment that was read.
pub(super) async fn scale_to_zero(client: &Client, deployment: &Deployment) -> Result<(), ApplyError> {
    let name = deployment.name_any();
    let api = Api::namespaced(client.clone(), &deployment.namespace().unwrap_or_default());
    let patch = json!({"metadata": {"uid": deployment.uid()}, "spec": {"replicas": 0}});
    merge::<Deployment>(&api, &name, &patch)
        .await
        .map(|_| ())
        .map_err(|error| failed("suspend", Deployment::KIND, &name, error))
}

/// Marks the fields that this operator created or repaired as applied by it. The object was just applied, so
/// controllers may be writing to it at the same time.
async fn own_as_applied<K: ChildKind>(api: &Api<K>, applied: &K) -> Result<(), ApplyError> {
    let name = applied.name_any();
    let mut current = applied.clone();
    for tries_left in (0..OWN_TRIES).rev() {
        let Some(entries) = managed_fields::as_applied(current.managed_fields()) else {
            return Ok(());
        };
        // The patch names the version, because it contains the other managers' entries of that version.
        let patch = json!({"metadata": {
            "uid": current.uid(), "resourceVersion": current.resource_version(), "managedFields": entries,
        }});
        match merge(api, &name, &patch).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() && tries_left > 0 => {
                let read = api.get(&name).await;
                current = read.map_err(|error| failed("read", K::KIND, &name, error))?;
            }
            Err(error) => return Err(failed("take over", K::KIND, &name, error)),
        }
    }
    Ok(())
}

async fn merge<K: ChildKind>(api: &Api<K>, name: &str, patch: &serde_json::Value) -> Result<K, kube::Error> {
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &parameters, &Patch::Merge(patch)).await
}

pub(super) fn failed(verb: &'static str, kind: &'static str, name: &str, error: kube::Error) -> ApplyError {
    let name = name.to_owned();
    match error {
        // This case comes first: a ValidatingAdmissionPolicy without a reason denies with Invalid.
        kube::Error::Api(status) if is_denied(&status) => ApplyError::Denied {
            kind,
            name,
            message: status.message,
        },
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

/// Returns whether admission or a quota refused the request. The API server also answers 403 if this operator
/// lacks a right or if the namespace is being deleted. Neither is about the child.
fn is_denied(status: &kube::core::Status) -> bool {
    let message = &status.message;
    // Webhooks, and ValidatingAdmissionPolicies.
    let by_admission = message.contains(" denied the request") || message.contains(" denied request");
    let is_terminating = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.reason == "NamespaceTerminating");
    (400..500).contains(&status.code) && by_admission
        || status.is_forbidden() && !error_chain::lacks_right(status) && !is_terminating
}

/// Returns whether another object has taken the name of the one that was read. Its UID differs, and the API
/// server reports the UID as an invalid change. The next reconcile reads the new object.
fn is_another_object(status: &kube::core::Status) -> bool {
    status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.field == "metadata.uid")
}
