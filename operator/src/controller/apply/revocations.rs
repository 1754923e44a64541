//! Writes the Secret with the revocations.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};

use super::server_side_apply::{create, failed, replace};
use super::{ApplyError, unchanged};
use crate::controller::children::ChildKind as _;

/// Creates the Secret with the revocations, or replaces one that differs. A Secret of this name and type is the operator's,
/// whoever wrote it last; a Secret of another type is not changed.
pub async fn put_revocations(client: &Client, mut secret: Secret) -> Result<(), ApplyError> {
    let (kind, name) = (Secret::KIND, secret.name_any());
    let api: Api<Secret> = Api::namespaced(client.clone(), &secret.namespace().unwrap_or_default());
    let live = api.get_opt(&name).await;
    let Some(live) = live.map_err(|error| failed("read", kind, &name, error))? else {
        return create(client, secret).await.map(drop);
    };
    if live.type_ != secret.type_ {
        return Err(ApplyError::Foreign { kind, name });
    }
    if unchanged::is_within(&secret, &live).map_err(|source| ApplyError::Json { kind, source })? {
        return Ok(());
    }
    secret.metadata.uid = live.uid();
    secret.metadata.resource_version = live.resource_version();
    replace(client, secret).await.map(drop)
}
