//! The limits that a cluster sets to an object: a quota of a child, a policy, a quota of Pods. The object has the API server's
//! words, and goes on when the limit is gone.

use std::time::Duration;

use behalf_tests::limits::restoring;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::object::{NAME, Object};
use super::operator_process::OperatorProcess;
use super::release::Release;
use crate::ensure;
use crate::world::{TestResult, World};

const NAMESPACE: &str = "limits";

/// The policy, which belongs to no namespace.
const POLICY: &str = "limits-configurations-need-a-ticket";

/// Its answer.
const DENIAL: &str = "a configuration needs a ticket";

/// Maximum time until the API server enforces a limit.
const ENFORCED: Duration = Duration::from_secs(30);

pub(super) async fn limits_of_the_cluster_reach_the_object(world: &World) -> TestResult {
    let folder = tempfile::tempdir()?;
    let _release = Release::apply(world, NAMESPACE, &[], |_| true).await?;
    let operator = OperatorProcess::start(
        world,
        NAMESPACE,
        folder.path(),
        "one",
        &["--namespace", "limits-elsewhere"],
    )?;
    let remove = async {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            world
                .running
                .cluster
                .kubectl(&["delete", kind, POLICY, "--ignore-not-found"])?;
        }
        Ok(())
    };
    let outcome = restoring(quota_of_services(world), remove).await;
    let log = operator.log()?;
    outcome.map_err(|error| {
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        format!(
            "{error}; the operator's log ends (newest first): {}",
            end.join("\n")
        )
        .into()
    })
}

async fn quota_of_services(world: &World) -> TestResult {
    quota(world, "no-services", "count/services").await?;
    let object = Object::apply(world, NAMESPACE, &json!({})).await?;
    let refused = object.wait_reason("Accepted", "False", "ChildRejected").await?;
    ensure!(
        refused.message.contains("Service") && refused.message.contains("exceeded quota: no-services"),
        "the message is {:?}",
        refused.message
    );
    object.kubectl(&["delete", "resourcequota", "no-services"])?;
    object.wait_reason("Accepted", "True", "Accepted").await?;
    denial_of_configurations(&object).await?;
    quota_of_pods(&object).await
}

/// An edit that needs another `ConfigMap`.
async fn denial_of_configurations(object: &Object<'_>) -> TestResult {
    object.create(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
                }],
            },
            "validations": [{"expression": "false", "message": DENIAL}],
        },
    }))?;
    object.create(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    }))?;
    let end = Instant::now() + ENFORCED;
    // The API server reads policies from a cache.
    while object
        .kubectl(&["create", "configmap", "probe", "--dry-run=server"])
        .is_ok()
    {
        ensure!(Instant::now() < end, "the policy denies nothing");
        sleep(Duration::from_millis(200)).await;
    }
    object
        .edit(&json!({"server": {"azureDevOps": {"readOnly": true}}}))
        .await?;
    let refused = object.wait_reason("Accepted", "False", "ChildRejected").await?;
    ensure!(
        refused.message.contains("ConfigMap") && refused.message.contains(DENIAL),
        "the message is {:?}",
        refused.message
    );
    object.kubectl(&["delete", "validatingadmissionpolicybinding", POLICY])?;
    object.wait_reason("Accepted", "True", "Accepted").await?;
    Ok(())
}

async fn quota_of_pods(object: &Object<'_>) -> TestResult {
    quota(object.world, "no-pods", "pods").await?;
    object.edit(&json!({"suspend": false})).await?;
    let refused = object.wait_reason("Available", "False", "PodsRefused").await?;
    ensure!(
        refused.message.contains("exceeded quota: no-pods"),
        "the message is {:?}",
        refused.message
    );
    object.kubectl(&["delete", "resourcequota", "no-pods"])?;
    // Its image is of a release that does not exist, so that the Pod does not run.
    let made = object
        .wait("Available", |now| {
            now.is_some_and(|now| now.reason != "PodsRefused")
        })
        .await?;
    let pods = object.kubectl(&[
        "get",
        "pods",
        "--selector",
        &format!("behalf.dev/mcp-server={NAME}"),
        "--output",
        "name",
    ])?;
    ensure!(
        !pods.trim().is_empty(),
        "there is no Pod, and Available is {made:?}"
    );
    Ok(())
}

/// Allows none of a resource, and waits until the API server does.
async fn quota(world: &World, name: &str, resource: &str) -> TestResult {
    let cluster = &world.running.cluster;
    let hard = format!("--hard={resource}=0");
    cluster.kubectl(&["create", "quota", name, "--namespace", NAMESPACE, &hard])?;
    let end = Instant::now() + ENFORCED;
    loop {
        let used = [
            "get",
            "resourcequota",
            name,
            "--namespace",
            NAMESPACE,
            "--output",
            "jsonpath={.status.hard}",
        ];
        if cluster.kubectl(&used)?.contains(resource) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the quota {name} is not enforced");
        sleep(Duration::from_millis(200)).await;
    }
}
