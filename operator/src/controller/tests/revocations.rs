//! Tests that a revocation reaches the Pods, whatever happens to the rest of the object.

use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::Value;

use super::cluster::{Asked, Cluster, condition, failure, statuses};
use super::passes::{held, pod};
use super::*;
use crate::controller::dereference::pod_reports::PodReports;
use crate::testing::{children, document, quickstart_with, redis, revocations};

const NAME: &str = "azure-devops";

/// An object that revokes all sessions, with more fields.
fn revoking(mut spec: Value) -> McpServer {
    spec["sessions"]["revocations"]["before"] = json!("2026-01-02T03:04:05Z");
    quickstart_with(spec)
}

/// The requests that write the Secret.
fn written(asked: &[Asked]) -> Vec<&Asked> {
    let writes = |line: &str| line.starts_with("POST ") || line.starts_with("PUT ");
    let is_secret = |line: &str| line.ends_with("/azure-devops-revocations");
    asked
        .iter()
        .filter(|(line, _)| writes(line) && is_secret(line))
        .collect()
}

#[rstest]
#[case::with_pods("own", true)]
#[case::never_accepted("none", false)]
#[case::with_another_objects_deployment("another", false)]
#[tokio::test]
async fn a_refused_object_with_pods_still_revokes(#[case] deployment: &str, #[case] writes: bool) {
    let mut held = children(&server(QUICKSTART));
    if deployment == "another" {
        held.deployment.metadata.owner_references.as_mut().unwrap()[0].uid = deployment.to_owned();
    }
    let mut held = held.existing();
    if deployment == "none" {
        held.deployments.clear();
    }
    // Its authority is no longer allowed.
    let server = revoking(json!({"entra": {"authority": "https://login.removed.example"}}));
    let cluster = Cluster {
        children: held,
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(std::slice::from_ref(&server)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let accepted = condition(statuses(&asked, NAME)[0], "Accepted").unwrap();
    assert_eq!(accepted[..2], ["False", "InvalidSpec"]);
    let written = written(&asked);
    assert_eq!(written.len(), usize::from(writes), "{written:?}");
    for (_, body) in written {
        assert_eq!(body["data"], json!(revocations(&server))["data"]);
    }
}

#[tokio::test]
async fn another_child_that_fails_delays_no_revocation() {
    let server = revoking(json!({}));
    let cluster = Cluster {
        refused: Some(("/configmaps/", failure(500, "InternalError", "etcd is slow"))),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(matches!(results[..], [Err(ReconcileError::Apply(_))]));
    assert_eq!(written(&asked).len(), 1);
}

#[rstest]
#[case::of_the_certificate_authority("GET /api/v1/namespaces/mcp/configmaps/private-ca")]
#[case::of_the_certificate_authority_of_the_store("GET /api/v1/namespaces/mcp/configmaps/redis-ca")]
#[case::of_the_service_account("GET /api/v1/namespaces/mcp/serviceaccounts/shared")]
#[case::of_the_issuer("GET /.well-known/openid-configuration")]
#[case::of_the_keyring("GET /api/v1/namespaces/mcp/secrets/azure-devops-keyring")]
#[tokio::test]
async fn a_failed_read_delays_no_revocation(#[case] request: &'static str) {
    let refused = Some((request, failure(500, "InternalError", "etcd is slow")));
    assert_revoked_without_reads(|cluster| cluster.refused = refused).await;
}

/// A reconcile has a minute. A read without an answer must not use it up.
#[rstest]
#[case::of_the_certificate_authority("GET /api/v1/namespaces/mcp/configmaps/private-ca")]
#[case::of_the_service_account("GET /api/v1/namespaces/mcp/serviceaccounts/shared")]
#[case::of_the_issuer("GET /.well-known/openid-configuration")]
#[case::of_the_keyring("GET /api/v1/namespaces/mcp/secrets/azure-devops-keyring")]
#[tokio::test(start_paused = true)]
async fn a_read_without_an_answer_keeps_no_revocation_from_being_written(#[case] request: &'static str) {
    assert_revoked_without_reads(|cluster| cluster.unanswered = Some(request)).await;
}

/// Makes a pass over an object with revocations and with everything that a reconcile reads.
async fn assert_revoked_without_reads(fail: impl FnOnce(&mut Cluster)) {
    let mut spec = redis(json!({"certificateAuthorityRef": {"name": "redis-ca"}}));
    spec["entra"] = json!({
        "certificateAuthorityRef": {"name": "private-ca"}, "federation": {"serviceAccountName": "shared"},
    });
    let server = revoking(spec);
    let mut cluster = Cluster {
        children: held(&crate::testing::server(QUICKSTART)).existing(),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    fail(&mut cluster);
    let (results, asked) = cluster.passes(std::slice::from_ref(&server)).await;
    assert!(
        matches!(results[..], [Err(ReconcileError::Dereference(_))]),
        "{results:?}"
    );
    let [(_, body)] = written(&asked)[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(body["data"], json!(revocations(&server))["data"]);
    assert!(
        asked.iter().all(|(line, _)| !line.contains("/deployments/")),
        "{asked:?}"
    );
}

#[rstest]
#[case::made_immutable((422, "Invalid", "field is immutable when `immutable` is set"), "field is immutable")]
#[case::a_slow_api_server((500, "InternalError", "etcd is slow"), "etcd is slow")]
#[tokio::test]
async fn revocations_that_cannot_be_written_stop_no_other_child_and_the_status_says_why(
    #[case] (code, reason, message): (u16, &str, &str),
    #[case] problem: &str,
) {
    let server = revoking(json!({}));
    let mut live = json!(revocations(&server));
    live["data"] = json!({});
    let cluster = Cluster {
        stored: vec![("/secrets/azure-devops-revocations", live)],
        refused: Some((
            "PUT /api/v1/namespaces/mcp/secrets/azure-devops-revocations",
            failure(code, reason, message),
        )),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let in_force = condition(statuses(&asked, NAME)[0], "RevocationsInForce").unwrap();
    assert_eq!(in_force[..2], ["False", "RevocationsNotWritten"]);
    assert!(in_force[2].contains(problem), "{}", in_force[2]);
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    assert!(
        lines.iter().any(|line| line.contains("/deployments/")),
        "{lines:?}"
    );
}

/// A Pod of the object that starts.
fn starting() -> Pod {
    let mut pod = pod();
    pod.metadata.name = Some("another-pod".to_owned());
    pod.metadata.uid = Some("another-pod".to_owned());
    let status = pod.status.as_mut().unwrap();
    status.phase = Some("Pending".to_owned());
    status.conditions = None;
    pod
}

/// A Pod that the kubelet has evicted. It stays until somebody deletes it.
fn evicted() -> Pod {
    let mut pod = starting();
    pod.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    pod
}

fn deleted() -> Pod {
    let mut pod = starting();
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(50)));
    pod
}

#[rstest]
#[case::all_pods_have_the_declared_ones(true, vec![pod()], false)]
#[case::another_pod_was_evicted(true, vec![pod(), evicted()], false)]
#[case::another_pod_was_deleted_before_it_started(true, vec![pod(), deleted()], false)]
#[case::a_pod_reports_others(false, vec![pod()], true)]
#[case::a_pod_starts(true, vec![pod(), starting()], true)]
#[tokio::test]
async fn the_secret_is_read_only_when_a_pod_reports_other_revocations_or_starts(
    #[case] same: bool,
    #[case] pods: Vec<Pod>,
    #[case] is_read: bool,
) {
    let server = server(QUICKSTART);
    let mut emptied = json!(revocations(&server));
    emptied["data"] = json!({});
    let mut report = document("sha256:0");
    if !same {
        report.revocations_digest = Some("sha256:1".to_owned());
    }
    let cluster = Cluster {
        children: held(&server).existing(),
        pods,
        reports: Arc::new(PodReports::holding("a-pod", report)),
        stored: vec![("/secrets/azure-devops-revocations", emptied)],
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let requests = asked
        .iter()
        .filter(|(line, _)| line.ends_with("/azure-devops-revocations"));
    assert_eq!(requests.count(), if is_read { 2 } else { 0 });
    assert_eq!(written(&asked).len(), usize::from(is_read));
}

#[tokio::test]
async fn revocations_that_pods_do_not_have_are_compared_in_each_pass() {
    let server = server(QUICKSTART);
    let mut report = document("sha256:0");
    report.revocations_digest = Some("sha256:1".to_owned());
    let cluster = Cluster {
        children: held(&server).existing(),
        pods: vec![pod()],
        reports: Arc::new(PodReports::holding("a-pod", report)),
        stored: vec![("/secrets/azure-devops-revocations", json!(revocations(&server)))],
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (_, asked) = cluster.passes(&[server.clone(), server]).await;
    let reads = asked
        .iter()
        .filter(|(line, _)| line.starts_with("GET ") && line.ends_with("/secrets/azure-devops-revocations"));
    assert_eq!(reads.count(), 2);
}

#[tokio::test]
async fn no_pod_is_made_before_the_secret_that_it_needs_exists() {
    let server = revoking(json!({}));
    let part = "POST /api/v1/namespaces/mcp/secrets/azure-devops-revocations";
    let cluster = Cluster {
        refused: Some((part, failure(500, "InternalError", "etcd is slow"))),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(
        matches!(results[..], [Err(ReconcileError::Apply(_))]),
        "{results:?}"
    );
    assert!(
        asked.iter().all(|(line, _)| !line.contains("/deployments/")),
        "{asked:?}"
    );
}

#[rstest]
#[case::another_type(true, "NameTaken", "does not belong to this object")]
#[case::a_quota(false, "ChildRejected", "exceeded quota")]
#[tokio::test]
async fn without_a_secret_that_a_pod_can_mount_the_running_pods_stay(
    #[case] exists: bool,
    #[case] reason: &str,
    #[case] problem: &str,
) {
    let server = revoking(json!({}));
    let mut live = json!(revocations(&server));
    live["type"] = json!("Opaque");
    let quota = failure(403, "Forbidden", "secrets is forbidden: exceeded quota: few");
    let part = "POST /api/v1/namespaces/mcp/secrets/azure-devops-revocations";
    let cluster = Cluster {
        stored: exists
            .then_some(("/secrets/azure-devops-revocations", live))
            .into_iter()
            .collect(),
        refused: (!exists).then_some((part, quota)),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for kind in ["Accepted", "RevocationsInForce"] {
        let condition = condition(statuses(&asked, NAME)[0], kind).unwrap();
        assert_eq!(condition[0], "False");
        assert!(condition[2].contains(problem), "{}", condition[2]);
    }
    let accepted = condition(statuses(&asked, NAME)[0], "Accepted").unwrap();
    assert_eq!(accepted[1], reason);
    assert!(
        asked.iter().all(|(line, _)| !line.contains("/deployments/")),
        "{asked:?}"
    );
}
