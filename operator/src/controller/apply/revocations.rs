//! Writes the Secret with the revocations.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};

use super::server_side_apply::{create, failed, replace};
use super::{ApplyError, unchanged};
use crate::controller::children::ChildKind as _;

/// The revocations were not written.
#[derive(Debug)]
pub struct RevocationsNotWritten {
    /// Why.
    pub error: ApplyError,

    /// True if Pods can mount an earlier version. False if a new Pod would wait for the Secret.
    pub has_earlier: bool,
}

/// Creates the Secret with the revocations, or replaces one that differs. A Secret of this name and type is the operator's,
/// whoever wrote it last; a Secret of another type is not changed. For an object that `is_new` there is most probably none, and
/// it is not read before the create.
pub async fn put_revocations(
    client: &Client,
    mut secret: Secret,
    is_new: bool,
) -> Result<(), RevocationsNotWritten> {
    let (kind, name) = (Secret::KIND, secret.name_any());
    let not_written = |has_earlier| move |error| RevocationsNotWritten { error, has_earlier };
    let api: Api<Secret> = Api::namespaced(client.clone(), &secret.namespace().unwrap_or_default());
    let mut refused = None;
    if is_new {
        match create(client, secret.clone()).await {
            Ok(_) => return Ok(()),
            // Also a quota or a webhook may refuse a Secret that exists: they come before the comparison of names.
            Err(error) => refused = Some(error),
        }
    }
    let live = api.get_opt(&name).await;
    let live = live.map_err(|error| failed("read", kind, &name, error));
    let Some(live) = live.map_err(not_written(!is_new))? else {
        if let Some(error) = refused {
            return Err(not_written(false)(error));
        }
        let created = create(client, secret).await;
        return created.map(drop).map_err(not_written(false));
    };
    if live.type_ != secret.type_ {
        return Err(not_written(false)(ApplyError::Foreign { kind, name }));
    }
    let is_same = unchanged::is_within(&secret, &live);
    if is_same.map_err(|source| not_written(true)(ApplyError::Json { kind, source }))? {
        return Ok(());
    }
    secret.metadata.uid = live.uid();
    secret.metadata.resource_version = live.resource_version();
    let replaced = replace(client, secret).await;
    replaced.map(drop).map_err(not_written(true))
}
