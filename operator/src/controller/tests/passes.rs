//! Tests which requests whole passes make, and how they report refusals of the API server.

use std::sync::atomic::{AtomicI64, Ordering};

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::Value;

use super::cluster::{Asked, Cluster, condition, failure, statuses};
use super::*;
use crate::api::v1alpha1::{CertificateAuthorityRef, KeysStatus};
use crate::controller::children::{Built, Children};
use crate::controller::dereference::pod_reports::PodReports;
use crate::controller::reference_defaults::ReferenceDefaults;
use crate::testing::{children, document, quickstart_with};

pub(super) const NAME: &str = "azure-devops";

pub(super) fn pod() -> Pod {
    let pod = json!({
        "metadata": {
            "name": "a-pod", "namespace": "mcp", "uid": "a-pod", "labels": names::labels(NAME),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": NAME, "controller": true,
                "uid": "replica-set-of-azure-devops",
            }],
        },
        "status": {
            "phase": "Running", "podIP": "192.0.2.1", "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    serde_json::from_value(pod).unwrap()
}

/// The children of an object, with a Deployment that has a UID.
pub(super) fn held(server: &McpServer) -> Children<Built> {
    let mut held = children(server);
    held.deployment.metadata.uid = Some("a-deployment".to_owned());
    held
}

fn from_elsewhere(mut pod: Pod) -> Pod {
    pod.metadata.owner_references.as_mut().unwrap()[0].uid = "another-replica-set".to_owned();
    pod
}

#[rstest]
#[case::a_pod_reports_the_expected_key("s00000001", true, pod(), false)]
#[case::the_pod_reports_another_key("s00000002", true, pod(), true)]
#[case::no_pod_reports("s00000001", false, pod(), true)]
#[case::a_pod_that_somebody_else_made_reports("s00000001", true, from_elsewhere(pod()), true)]
#[tokio::test]
async fn the_keyring_secret_is_read_only_when_no_pod_reports_the_expected_key(
    #[case] expected: &str,
    #[case] reports: bool,
    #[case] pod: Pod,
    #[case] is_read: bool,
) {
    let mut server = server(QUICKSTART);
    server.status.get_or_insert_default().keys = Some(KeysStatus {
        current: expected.to_owned(),
        secret_name: Some("azure-devops-keyring".to_owned()),
        created_at: Some(time(0)),
        ..KeysStatus::default()
    });
    let mut cluster = Cluster {
        children: held(&server).existing(),
        pods: vec![pod],
        ..Cluster::of(std::slice::from_ref(&server))
    };
    if reports {
        cluster.reports = Arc::new(PodReports::holding("a-pod", document("sha256:0")));
    }
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let reads = asked
        .iter()
        .filter(|(line, _)| line.contains("GET ") && line.ends_with("/secrets/azure-devops-keyring"));
    assert_eq!(reads.count(), usize::from(is_read));
}

/// Makes the first pass over a new object. Returns the object with the status that it wrote, and the children as it created them.
async fn after_the_first_pass() -> (McpServer, Children<Built>) {
    let mut server = server(QUICKSTART);
    let cluster = Cluster::of(std::slice::from_ref(&server));
    let (_, asked) = cluster.passes(std::slice::from_ref(&server)).await;
    let written = |kind: &str| {
        let (_, body) = asked
            .iter()
            .find(|(line, body)| line.starts_with("POST ") && body["kind"] == kind)
            .unwrap();
        body.clone()
    };
    let mut held = held(&server);
    held.service_account = Some(serde_json::from_value(written("ServiceAccount")).unwrap());
    held.config_map = serde_json::from_value(written("ConfigMap")).unwrap();
    held.network_policy = Some(serde_json::from_value(written("NetworkPolicy")).unwrap());
    held.service = serde_json::from_value(written("Service")).unwrap();
    held.deployment = serde_json::from_value(written("Deployment")).unwrap();
    held.deployment.metadata.uid = Some("a-deployment".to_owned());
    server.status = serde_json::from_value(statuses(&asked, NAME)[0].clone()).unwrap();
    // The test's Pod reports the key of the keyring that the test's children have.
    server.status.as_mut().unwrap().keys = Some(KeysStatus {
        current: "s00000001".to_owned(),
        secret_name: Some("azure-devops-keyring".to_owned()),
        created_at: Some(time(0)),
        ..KeysStatus::default()
    });
    (server, held)
}

/// Makes a pass over an object whose Pod reports.
async fn pass_with_a_report(
    server: &McpServer,
    children: Children<Built>,
) -> (Result<Action, ReconcileError>, Vec<Asked>) {
    let cluster = Cluster {
        pods: vec![pod()],
        reports: Arc::new(PodReports::holding("a-pod", document("sha256:0"))),
        children: children.existing(),
        ..Cluster::of(std::slice::from_ref(server))
    };
    let (mut results, asked) = cluster.passes(std::slice::from_ref(server)).await;
    (results.remove(0), asked)
}

#[tokio::test]
async fn a_settled_pass_asks_the_api_server_for_nothing() {
    let (mut server, mut held) = after_the_first_pass().await;
    // The second pass sees that the cluster refuses the Pods, and writes the status.
    held.deployment.status = Some(DeploymentStatus {
        conditions: Some(vec![DeploymentCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            message: Some("exceeded quota".to_owned()),
            ..DeploymentCondition::default()
        }]),
        ..DeploymentStatus::default()
    });
    let (_, asked) = pass_with_a_report(&server, held.clone()).await;
    server.status = serde_json::from_value(statuses(&asked, NAME)[0].clone()).unwrap();
    let (_, asked) = pass_with_a_report(&server, held).await;
    let lines: Vec<&str> = asked
        .iter()
        .map(|(line, _)| line.as_str())
        // The issuer's discovery document is read once for each process.
        .filter(|line| !line.contains(".well-known"))
        .collect();
    assert_eq!(lines, Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_sees_only_progress_writes_no_status_and_the_next_one_begins_soon() {
    let (server, mut held) = after_the_first_pass().await;
    held.deployment.status = Some(DeploymentStatus {
        replicas: Some(1),
        ..DeploymentStatus::default()
    });
    let (result, asked) = pass_with_a_report(&server, held).await;
    assert_eq!(statuses(&asked, NAME), Vec::<&Value>::new());
    assert_eq!(result.unwrap(), Action::requeue(Duration::from_secs(3)));
}

/// A clock that goes on by 20 seconds with each look at it.
fn quick() -> jiff::Timestamp {
    static SECONDS: AtomicI64 = AtomicI64::new(0);
    time(SECONDS.fetch_add(20, Ordering::Relaxed))
}

#[rstest]
#[case::two_failures(2, Some(quick as fn() -> jiff::Timestamp), 0)]
#[case::three_failures(3, Some(quick as fn() -> jiff::Timestamp), 1)]
#[case::three_failures_at_once(3, None, 0)]
#[tokio::test]
async fn a_step_is_reported_in_the_status_when_it_failed_three_times_in_thirty_seconds(
    #[case] passes: usize,
    #[case] clock: Option<fn() -> jiff::Timestamp>,
    #[case] told: usize,
) {
    let server = server(QUICKSTART);
    let cluster = Cluster {
        refused: Some(("/deployments/", failure(500, "InternalError", "etcd is slow"))),
        clock,
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&vec![server.clone(); passes]).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(ReconcileError::Apply(_))))
    );
    let statuses = statuses(&asked, NAME);
    assert_eq!(statuses.len(), told);
    for status in statuses {
        let reconciling = condition(status, "Reconciling").unwrap();
        assert_eq!(reconciling[..2], ["True", "StepFailed"]);
        assert!(reconciling[2].contains("etcd is slow"), "{}", reconciling[2]);
    }
}

#[tokio::test]
async fn a_child_that_a_quota_refuses_is_reported_in_accepted_and_is_no_failed_step() {
    let server = server(QUICKSTART);
    let quota = "deployments.apps \"azure-devops\" is forbidden: exceeded quota: few";
    let cluster = Cluster {
        refused: Some(("/deployments/", failure(403, "Forbidden", quota))),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[(); 4].map(|()| server.clone())).await;
    for result in results {
        result.unwrap();
    }
    for status in statuses(&asked, NAME) {
        let accepted = condition(status, "Accepted").unwrap();
        assert_eq!(accepted[..2], ["False", "ChildRejected"]);
        assert!(accepted[2].contains(quota), "{}", accepted[2]);
        assert_eq!(condition(status, "Reconciling"), None);
        assert_eq!(
            condition(status, "Stalled"),
            None,
            "the quota can be changed as well"
        );
    }
}

#[tokio::test]
async fn a_pass_deletes_the_unused_children_of_each_kind_and_no_used_one() {
    let held = held(&server(QUICKSTART)).existing();
    // The object names another ServiceAccount, needs no NetworkPolicy, and has another configuration.
    let server = quickstart_with(json!({
        "entra": {"federation": {"serviceAccountName": "shared"}},
        "network": {"policy": "Open"},
        "server": {"azureDevOps": {"readOnly": true}},
    }));
    let annotations = json!({"behalf.dev/mcp-servers": NAME});
    let account = json!({"metadata": {"name": "shared", "annotations": annotations}});
    let unused = format!("configmaps/{}", held.config_maps[0].name_any());
    let cluster = Cluster {
        children: held,
        stored: vec![("/serviceaccounts/shared", account)],
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let deleted: Vec<&str> = asked
        .iter()
        .filter_map(|(line, _)| line.strip_prefix("DELETE "))
        .filter_map(|path| path.split_once("/namespaces/mcp/"))
        .map(|(_, object)| object)
        .collect();
    assert_eq!(
        deleted,
        [
            "networkpolicies/azure-devops",
            "serviceaccounts/azure-devops",
            &unused
        ]
    );
}

#[rstest]
#[case::suspended(true, "own", 1, true)]
#[case::not_suspended(false, "own", 1, false)]
#[case::stopped_already(true, "own", 0, false)]
#[case::of_another_object(true, "another", 1, false)]
#[tokio::test]
async fn suspend_stops_the_pods_of_a_refused_object(
    #[case] suspend: bool,
    #[case] owner: &str,
    #[case] replicas: i32,
    #[case] stops: bool,
) {
    let mut held = children(&server(QUICKSTART));
    held.deployment.metadata.uid = Some("a-deployment".to_owned());
    held.deployment.spec.as_mut().unwrap().replicas = Some(replicas);
    if owner != "own" {
        held.deployment.metadata.owner_references.as_mut().unwrap()[0].uid = owner.to_owned();
    }
    // Its authority is no longer allowed.
    let server = quickstart_with(json!({
        "suspend": suspend, "entra": {"authority": "https://login.removed.example"},
    }));
    let cluster = Cluster {
        children: held.existing(),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let accepted = condition(statuses(&asked, NAME)[0], "Accepted").unwrap();
    assert_eq!(accepted[..2], ["False", "InvalidSpec"]);
    let written: Vec<_> = asked
        .iter()
        .filter(|(line, _)| line.contains("/deployments"))
        .collect();
    if stops {
        let [(line, body)] = written[..] else {
            panic!("{written:?}")
        };
        assert!(line.starts_with("PATCH "), "{line}");
        let expected = json!({"metadata": {"uid": "a-deployment"}, "spec": {"replicas": 0}});
        assert_eq!(body, &expected);
    } else {
        assert!(written.is_empty(), "{written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_waits_for_no_pod() {
    // Nothing answers at the Pod's address, and no report was read yet.
    let server = server(QUICKSTART);
    let cluster = Cluster {
        pods: vec![pod()],
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let before = tokio::time::Instant::now();
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(before.elapsed(), Duration::ZERO);
    let verified = condition(statuses(&asked, NAME)[0], "Verified").unwrap();
    assert_eq!(verified[..2], ["Unknown", "NotObserved"]);
}

#[rstest]
#[case::the_cache_has_it("100", 0)]
#[case::the_watch_is_interrupted("99", 1)]
#[tokio::test(start_paused = true)]
async fn a_pass_that_wrote_a_status_ends_when_the_cache_has_it_or_after_a_second(
    #[case] cached: &str,
    #[case] seconds: u64,
) {
    let mut server = server(QUICKSTART);
    server.metadata.resource_version = Some(cached.to_owned());
    let cluster = Cluster::of(std::slice::from_ref(&server));
    let before = tokio::time::Instant::now();
    // The API server answers with version 100.
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(statuses(&asked, NAME).len(), 1);
    assert_eq!(before.elapsed().as_secs(), seconds);
}

#[tokio::test]
async fn a_pass_over_a_new_object_reads_no_secret_and_one_whose_keyring_was_restored_adopts_it() {
    let mut server = server(QUICKSTART);
    // As the schema's default has it.
    server.status = Some(McpServerStatus::default());
    assert_eq!(server.status.as_ref().unwrap().observed_generation, -1);
    let secrets = |asked: &[(String, serde_json::Value)]| -> Vec<String> {
        let lines = asked.iter().map(|(line, _)| line);
        let secrets = lines.filter_map(|line| line.split_once(" /api/v1/namespaces/mcp/secrets/"));
        secrets.map(|(method, name)| format!("{method} {name}")).collect()
    };
    let new = Cluster::of(std::slice::from_ref(&server));
    let (_, asked) = new.passes(std::slice::from_ref(&server)).await;
    let created = ["POST azure-devops-revocations", "POST azure-devops-keyring"];
    assert_eq!(secrets(&asked), created);

    let mut keyring = children(&server).keyring.unwrap();
    keyring.metadata.owner_references = None;
    // A quota refuses the create before the API server compares names.
    let quota = failure(403, "Forbidden", "secrets is forbidden: exceeded quota: few");
    let full = Some(("POST /api/v1/namespaces/mcp/secrets/azure-devops-keyring", quota));
    for refused in [None, full] {
        let restored = Cluster {
            stored: vec![("/secrets/azure-devops-keyring", json!(keyring))],
            refused,
            ..Cluster::of(std::slice::from_ref(&server))
        };
        let (results, asked) = restored.passes(std::slice::from_ref(&server)).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(
            secrets(&asked),
            [created[0], created[1], "GET azure-devops-keyring"]
        );
        let status = statuses(&asked, NAME)[0];
        assert_eq!(status["keys"]["current"], "s00000001");
        assert_eq!(condition(status, "Accepted").unwrap()[..2], ["True", "Accepted"]);
    }
}

/// The certificate authority of the installation, as the API server has it in the namespace of the object.
fn with_an_authority_of_the_installation(server: &McpServer) -> Cluster {
    let authority = CertificateAuthorityRef {
        name: "corp-ca".to_owned(),
        key: "ca.crt".to_owned(),
    };
    Cluster {
        references: ReferenceDefaults {
            certificate_authority: Some(authority),
            image_pull_secrets: vec!["mirror".to_owned()],
        },
        ..Cluster::of(std::slice::from_ref(server))
    }
}

fn bundle() -> Value {
    json!({"metadata": {"name": "a-ca"}, "data": {"ca.crt": "-----BEGIN CERTIFICATE-----"}})
}

#[tokio::test]
async fn an_object_that_names_none_uses_the_certificate_authority_and_the_pull_secret_of_the_installation() {
    let server = quickstart_with(json!({}));
    let cluster = Cluster {
        stored: vec![("/configmaps/corp-ca", bundle())],
        ..with_an_authority_of_the_installation(&server)
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results[0].is_ok(), "{results:?}");
    let (_, deployment) = asked
        .iter()
        .find(|(line, body)| line.contains("/deployments") && body["spec"].is_object())
        .unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "mirror"}]));
    let volumes = pod["volumes"].as_array().unwrap();
    let authority = volumes
        .iter()
        .find(|volume| volume["name"] == "certificate-authority");
    assert_eq!(authority.unwrap()["configMap"]["name"], "corp-ca");
}

#[tokio::test]
async fn an_object_with_references_of_its_own_uses_none_of_the_installation() {
    let server = quickstart_with(json!({
        "entra": {"certificateAuthorityRef": {"name": "private-ca"}},
        "pod": {"imagePullSecrets": [{"name": "own"}]},
    }));
    let cluster = Cluster {
        stored: vec![("/configmaps/private-ca", bundle())],
        ..with_an_authority_of_the_installation(&server)
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results[0].is_ok(), "{results:?}");
    let text = serde_json::to_string(&asked).unwrap();
    assert!(!text.contains("corp-ca") && !text.contains("mirror"), "{text}");
}

#[tokio::test]
async fn a_namespace_without_the_certificate_authority_of_the_installation_is_told_which_value_names_it() {
    let server = quickstart_with(json!({}));
    let cluster = with_an_authority_of_the_installation(&server);
    let (_, asked) = cluster.passes(&[server]).await;
    let [_, reason, message] = condition(statuses(&asked, NAME)[0], "Accepted").unwrap();
    assert_eq!(reason, "CertificateAuthorityNotFound");
    assert!(
        message.contains("certificateAuthority.configMap of the chart behalf"),
        "{message}"
    );
    assert!(
        message.contains("the key ca.crt of ConfigMap corp-ca"),
        "{message}"
    );
}
