//! The rule for the `ServiceAccount` that an object names.

use behalf_contract::ObjectIdentity;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt as _;

use crate::controller::names;
use crate::controller::validate::NotShared;

/// Requires that the owner of a `ServiceAccount` shares it with the object. Otherwise a user who may write objects could
/// use the identity of every `ServiceAccount`.
pub(crate) fn shared(
    account: &ServiceAccount,
    name: &str,
    object: &ObjectIdentity,
    own_namespace: bool,
) -> Result<(), NotShared> {
    if own_namespace {
        return Err(NotShared::OperatorNamespace);
    }
    if let Some(owner) = names::controller(&account.metadata) {
        return Err(NotShared::Controlled {
            kind: owner.kind.clone(),
            owner: owner.name.clone(),
        });
    }
    let annotation = account.annotations().get(names::SHARED_WITH_ANNOTATION);
    let listed: Vec<&str> = annotation
        .iter()
        .flat_map(|list| list.split(',').map(str::trim))
        .collect();
    if listed.contains(&object.name.as_str()) {
        return Ok(());
    }
    // An administrator pastes the command into a shell, so it contains only names.
    let list: Vec<&str> = listed
        .into_iter()
        .filter(|name| names::is_subdomain(name))
        .chain([object.name.as_str()])
        .collect();
    let overwrite = if annotation.is_some() { " --overwrite" } else { "" };
    Err(NotShared::NotListed {
        command: format!(
            "kubectl annotate serviceaccount {name} -n {} {}={}{overwrite}",
            object.namespace,
            names::SHARED_WITH_ANNOTATION,
            list.join(",")
        ),
    })
}
