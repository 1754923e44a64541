//! Names, labels and annotations of the objects that the operator creates, and the users of their containers.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::api::v1alpha1::MAX_REQUEST_LENGTH;
use crate::field_manager::FIELD_MANAGER;

/// Names the `McpServer` that an object or a Pod belongs to.
pub const SERVER_LABEL: &str = "behalf.dev/mcp-server";

/// Selects every object that this operator created.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=behalf-operator";

/// On Deployment and Pod: the name of the `ConfigMap` that the Pod runs with.
pub const CONFIGURATION_ANNOTATION: &str = "behalf.dev/configuration";

/// On Deployment and Pod: the digest of the sidecar's file, which a Pod echoes in its status document.
pub const SIDECAR_DIGEST_ANNOTATION: &str = "behalf.dev/sidecar-configuration-digest";

/// On Deployment and Pod: the digest of the whole Pod template but for this annotation. Pods with another one
/// do not count for the current generation.
pub const TEMPLATE_ANNOTATION: &str = "behalf.dev/template";

/// On a `ServiceAccount` that is not a child: the objects that may use it, separated by commas.
pub const SHARED_WITH_ANNOTATION: &str = "behalf.dev/mcp-servers";

/// On an `McpServer`: a text that differs from `status.keys.lastRequest` begins a rotation of the keys. On the keyring
/// Secret: the text of the last rotation that was requested.
pub const ROTATE_KEYS_ANNOTATION: &str = "behalf.dev/rotate-keys";

/// On an `McpServer`: a text that differs from `status.lastHandledReconcileAt` requests a reconcile.
pub const RECONCILE_ANNOTATION: &str = "behalf.dev/reconcile-at";

/// On every child: the digest of what was applied last, so that an unchanged child is not applied again.
pub const APPLIED_ANNOTATION: &str = "behalf.dev/applied";

/// The container that runs the MCP server.
pub const SERVER_CONTAINER: &str = "mcp-server";

/// The container that runs the auth sidecar.
pub const SIDECAR_CONTAINER: &str = "auth-sidecar";

/// The sidecar's user id. Only its container mounts the keyring, and no other container may have this user.
pub const SIDECAR_USER: i64 = 65532;

/// The server's user id, if the object names no other. It differs from the sidecar's, so that neither can read the other's
/// memory or files.
pub const SERVER_USER: i64 = 65533;

/// The operator's own Pods, which may read the status of every Pod.
pub const OPERATOR_NAME: &str = "behalf-operator";

/// Returns `<namespace>/<name>`: the value of the field `mcp_server.name` in log lines.
pub fn full_name(object: &impl kube::ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Returns the name of the Secret with the keyring of an object.
pub fn keyring_secret(object: &str) -> String {
    format!("{object}-keyring")
}

/// Returns the name of the Secret with the revocations of an object.
pub fn revocations(object: &str) -> String {
    format!("{object}-revocations")
}

/// The sidecar's file inside a configuration.
pub const SIDECAR_FILE: &str = "sidecar.yaml";

/// The type of a keyring Secret.
pub const KEYRING_TYPE: &str = "behalf.dev/keyring";

/// The type of a Secret with revocations.
pub const REVOCATIONS_TYPE: &str = "behalf.dev/revocations";

/// The file inside that Secret.
pub const REVOCATIONS_KEY: &str = "revocations.json";

/// The file inside the keyring Secret.
pub const KEYRING_KEY: &str = "keyring.json";

/// The label that selects one object's Pods. Never changes: a Deployment's selector cannot.
pub fn selector(object: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(SERVER_LABEL.to_owned(), object.to_owned())])
}

/// The labels of every child and of the Pods.
pub fn labels(object: &str) -> BTreeMap<String, String> {
    let mut labels = selector(object);
    for (key, value) in [
        ("app.kubernetes.io/name", "mcp-server"),
        ("app.kubernetes.io/instance", object),
        ("app.kubernetes.io/part-of", "behalf"),
        ("app.kubernetes.io/managed-by", FIELD_MANAGER),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// Returns the text of an annotation that requests something. The status has room for the first characters.
pub fn request(object: &impl Resource, annotation: &str) -> Option<String> {
    let text = object.meta().annotations.as_ref()?.get(annotation)?;
    let request: String = text.chars().take(MAX_REQUEST_LENGTH as usize).collect();
    (!request.is_empty()).then_some(request)
}

/// Returns whether `name` is a DNS subdomain (RFC 1123), as every name that becomes a part of an API path must be.
pub fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Returns the subject of a `ServiceAccount`'s tokens.
pub fn subject(namespace: &str, service_account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{service_account}")
}

/// Returns the UID of the object that controls another.
pub fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    controller(metadata).map(|owner| owner.uid.as_str())
}

/// Returns the reference to the object that controls another.
pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

/// Prefixes of the keys that an object must not set. The last one is the old form of a container's AppArmor profile, which the
/// API server copies into the container.
const RESERVED: [&str; 4] = [
    "azure.workload.identity",
    "behalf.dev",
    "app.kubernetes.io",
    "container.apparmor.security.beta.kubernetes.io",
];

/// Returns whether the key of a label or an annotation is the operator's, or configures the Pods.
pub(super) fn is_reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return false;
    };
    RESERVED
        .into_iter()
        .any(|reserved| prefix == reserved || prefix.ends_with(&format!(".{reserved}")))
}
