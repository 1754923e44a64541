//! Tests what a pass writes for an object whose Pods an upgrade of the operator changes.

use kube::ResourceExt as _;

use super::cluster::{Asked, Cluster, condition, statuses};
use super::passes::NAME;
use super::*;
use crate::api::v1alpha1::conditions::ConditionType;
use crate::controller::children::ExistingChildren;
use crate::testing::children;

/// A cluster after an upgrade of the operator: another release made the Pods of the object `azure-devops`, and the Pods of `other`
/// are being replaced. Of two objects one may roll out at a time.
fn upgraded(other_status: serde_json::Value) -> (Cluster, McpServer) {
    let mut server = server(QUICKSTART);
    let available = json!({
        "type": ConditionType::Available.as_str(), "status": "True", "reason": "PodsServing", "message": "",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    server.status.get_or_insert_default().conditions = vec![serde_json::from_value(available).unwrap()];
    let mut other = server.clone();
    other.metadata.name = Some("other".to_owned());
    other.metadata.uid = Some("other".to_owned());

    let progress = |status: serde_json::Value| {
        let conditions = json!([{"type": "Progressing", "status": "True", "reason": status}]);
        let counts = json!({
            "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "conditions": conditions,
        });
        serde_json::from_value(counts).unwrap()
    };
    let mut own = children(&server);
    let older = [(
        names::TEMPLATE_ANNOTATION.to_owned(),
        "of-another-release".to_owned(),
    )];
    own.deployment.annotations_mut().extend(older);
    own.deployment.metadata.generation = Some(2);
    own.deployment.status = Some(progress(json!("NewReplicaSetAvailable")));
    let mut of_other = children(&other).deployment;
    of_other.metadata.generation = Some(2);
    of_other.status = Some(progress(other_status));

    let mut held = own.existing();
    held.deployments.push(Arc::new(of_other));
    let cluster = Cluster {
        children: held,
        ..Cluster::of(&[server.clone(), other])
    };
    (cluster, server)
}

/// Returns the paths of the children that a pass over the object wrote, with the method.
async fn written(cluster: &Cluster, server: McpServer) -> (Vec<String>, Vec<Asked>) {
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let of_child = |(line, _): &Asked| {
        let (method, path) = line.split_once(' ')?;
        let (_, child) = path.split_once("/namespaces/mcp/")?;
        let is_write = method != "GET" && !child.starts_with("mcpservers") && !child.starts_with("secrets");
        is_write.then(|| format!("{method} {child}"))
    };
    (asked.iter().filter_map(of_child).collect(), asked)
}

#[tokio::test]
async fn while_enough_other_objects_roll_out_an_upgrade_leaves_all_children_and_the_object_says_that_it_waits()
 {
    let (cluster, server) = upgraded(json!("ReplicaSetUpdated"));
    let (children, asked) = written(&cluster, server).await;
    assert_eq!(children, Vec::<String>::new());
    let status = statuses(&asked, NAME)[0];
    let [pending, reason, message] = condition(status, "UpdatePending").unwrap();
    assert_eq!([pending, reason], ["True", "RolloutWaiting"]);
    assert!(message.contains("maxRollouts"), "{message}");
    assert_eq!(condition(status, "Reconciling"), None);
}

#[tokio::test(start_paused = true)]
async fn when_another_rollout_has_ended_the_upgrade_replaces_the_pods() {
    for ended in ["NewReplicaSetAvailable", "ProgressDeadlineExceeded"] {
        let (mut cluster, server) = upgraded(json!(ended));
        if ended == "ProgressDeadlineExceeded" {
            let mut failed = cluster.children.deployments[1].as_ref().clone();
            let conditions = &mut failed.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
            conditions.status = "False".to_owned();
            cluster.children.deployments[1] = Arc::new(failed);
        }
        let (children, asked) = written(&cluster, server).await;
        assert!(
            children.contains(&"PATCH deployments/azure-devops".to_owned()),
            "{children:?}"
        );
        assert_eq!(condition(statuses(&asked, NAME)[0], "UpdatePending"), None);
    }
}

#[tokio::test]
async fn an_edit_replaces_the_pods_at_once() {
    let (cluster, mut server) = upgraded(json!("ReplicaSetUpdated"));
    server.metadata.generation = Some(2);
    let (children, asked) = written(&cluster, server).await;
    assert!(
        children.contains(&"PATCH deployments/azure-devops".to_owned()),
        "{children:?}"
    );
    assert_eq!(condition(statuses(&asked, NAME)[0], "UpdatePending"), None);
}

#[tokio::test]
async fn a_child_that_somebody_deleted_is_created_again_while_the_object_waits() {
    let (mut cluster, server) = upgraded(json!("ReplicaSetUpdated"));
    cluster.children = ExistingChildren {
        services: Vec::new(),
        ..cluster.children
    };
    let (children, _) = written(&cluster, server).await;
    assert_eq!(children, ["POST services/azure-devops"]);
}
