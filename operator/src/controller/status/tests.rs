//! Tests the status that is computed for an object.

use std::sync::Arc;

use behalf_contract as contract;
use contract::{SignInReport, StatusDocument};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::controller::children::Children;
use crate::controller::dereference::dereferenced::{PodReport, Unread};
use crate::controller::dereference::pod_reports::UNREACHABLE_AFTER;
use crate::controller::validate::Refusal;
use crate::testing::{ISSUER, QUICKSTART, children, document, plan, quickstart_with, server, time};

/// One object in a cluster, in the state in which everything works. Tests break one thing of it.
struct World {
    server: McpServer,
    deployment: Value,
    pods: Vec<Value>,
    reports: Vec<PodReport>,
    issuer: Option<String>,
    refusals: Option<Refusals>,
    configurations: Vec<Arc<ConfigMap>>,
    blind: bool,
    now: i64,
}

impl World {
    fn new() -> Self {
        Self::of(server(QUICKSTART))
    }

    fn of(server: McpServer) -> Self {
        let built = children(&server);
        let template = built.deployment.annotations()[names::TEMPLATE_ANNOTATION].clone();
        let digest = built.deployment.annotations()[names::SIDECAR_DIGEST_ANNOTATION].clone();
        let report = PodReport {
            template: Some(template.clone()),
            ready: true,
            document: Ok(document(&digest)),
        };
        Self {
            server,
            deployment: json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
            pods: vec![pod(&template)],
            reports: vec![report],
            issuer: Some(ISSUER.to_owned()),
            refusals: None,
            configurations: vec![Arc::new(built.config_map)],
            blind: false,
            now: 100,
        }
    }

    fn document(&mut self) -> &mut StatusDocument {
        self.reports[0].document.as_mut().unwrap()
    }

    /// The status after a pass, which the object has from then on.
    fn pass(&mut self) -> McpServerStatus {
        let mut deployment: Deployment = children(&self.server).deployment;
        deployment.metadata.generation = Some(1);
        deployment.status = Some(serde_json::from_value(self.deployment.clone()).unwrap());
        let pods: Vec<Arc<Pod>> = self
            .pods
            .iter()
            .map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap()))
            .collect();
        let mut found = Found {
            reports: self.reports.clone(),
            issuer: self.issuer.clone(),
            blind: self.blind,
            ..Found::default()
        };
        found.existing.pods = pods;
        let outcome = match &self.refusals {
            Some(refusals) => {
                found.existing.children.deployments = vec![Arc::new(deployment)];
                found.existing.children.config_maps = self.configurations.clone();
                Outcome::Refused(refusals.clone())
            }
            None => Outcome::Applied {
                plan: Box::new(plan(&self.server)),
                children: Box::new(
                    Children {
                        deployment,
                        ..children(&self.server)
                    }
                    .applied(),
                ),
            },
        };
        let status = compute(&self.server, &outcome, &found, time(self.now));
        self.now += 10;
        self.server.status = Some(status.clone());
        status
    }
}

fn pod(template: &str) -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "i", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {}},
        })
    };
    json!({
        "metadata": {"name": "azure-devops-1", "annotations": {(names::TEMPLATE_ANNOTATION): template}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [container("auth-sidecar")],
            "containerStatuses": [container("mcp-server")],
        },
    })
}

fn sign_in(outcome: contract::Outcome, reason: &str, seconds: Option<i64>) -> SignInReport {
    SignInReport {
        outcome,
        reason: reason.to_owned(),
        message: "Something was seen.".to_owned(),
        correlation_id: None,
        observed_at: seconds.map(time),
    }
}

fn fail_federation(world: &mut World, reason: &str, message: &str) {
    let report = &mut world.document().federation;
    report.outcome = contract::Outcome::Failed;
    report.reason = reason.to_owned();
    report.message = message.to_owned();
}

fn condition(status: &McpServerStatus, kind: ConditionType) -> &Condition {
    find(&status.conditions, kind).unwrap_or_else(|| panic!("no condition {}", kind.as_str()))
}

/// Status and reason of a condition.
fn told(status: &McpServerStatus, kind: ConditionType) -> (String, String) {
    let condition = condition(status, kind);
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

/// The types of the conditions that differ.
fn changed(before: &McpServerStatus, after: &McpServerStatus) -> Vec<&'static str> {
    ConditionType::ALL
        .iter()
        .filter(|&&kind| find(&before.conditions, kind) != find(&after.conditions, kind))
        .map(|kind| kind.as_str())
        .collect()
}

#[test]
fn everything_seen_is_ready_and_says_where() {
    let status = World::new().pass();
    for kind in ["Ready", "Accepted", "Available", "FederationVerified", "Verified"] {
        let kind = ConditionType::parse(kind).unwrap();
        assert_eq!(condition(&status, kind).status, "True", "{}", kind.as_str());
    }
    assert_eq!(
        told(&status, ConditionType::SessionsDurable),
        pair("False", "MemoryStore")
    );
    assert!(find(&status.conditions, ConditionType::Reconciling).is_none());
    assert!(find(&status.conditions, ConditionType::Stalled).is_none());
    assert_eq!(status.observed_generation, 1);
    assert_eq!(status.verified_generation, Some(1));
    assert_eq!(status.address.unwrap().url, "https://mcp.contoso.example/mcp");
    assert_eq!(status.server_info.unwrap().tools, 4);
    assert_eq!(status.keys.unwrap().current, "s00000001");
    let federation = status.federation.unwrap();
    assert_eq!(federation.subject, "system:serviceaccount:mcp:azure-devops");
    assert_eq!(federation.redirect_uri, "https://mcp.contoso.example/callback");
    assert!(
        federation
            .command
            .unwrap()
            .starts_with("az ad app federated-credential create --id 2222")
    );
}

#[test]
fn a_settled_system_computes_the_same_status_again() {
    let mut world = World::new();
    assert_eq!(world.pass(), world.pass());
}

#[test]
fn a_fresh_object_claims_nothing() {
    let mut world = World::new();
    world.deployment = json!({});
    world.pods.clear();
    world.reports.clear();
    let status = world.pass();
    assert_eq!(told(&status, ConditionType::Accepted), pair("True", "Accepted"));
    assert_eq!(
        told(&status, ConditionType::Available),
        pair("False", "RolloutInProgress")
    );
    assert_eq!(
        told(&status, ConditionType::FederationVerified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        told(&status, ConditionType::Verified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        told(&status, ConditionType::Ready),
        pair("False", "RolloutInProgress")
    );
    assert_eq!(
        told(&status, ConditionType::Reconciling),
        pair("True", "RolloutInProgress")
    );
    assert_eq!(
        (status.address, status.server_info, status.verified_generation),
        (None, None, None)
    );
    let federation = status.federation.unwrap();
    assert_eq!(
        federation.issuer.as_deref(),
        Some(ISSUER),
        "the API server knows it before any Pod runs"
    );
    assert!(federation.command.is_some());
}

/// What breaks exactly one condition, and what that condition then says.
type Break = fn(&mut World);

#[rstest]
#[case::refused("Accepted", "CertificateAuthorityNotFound", |world: &mut World| {
    world.refusals = Some(Refusals::one(Refusal::CertificateAuthorityNotFound { name: "a".into(), key: "b".into() }));
})]
#[case::crash("Available", "ContainerCrashing", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
})]
#[case::image("Available", "ImagePullFailed", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["initContainerStatuses"][0]["state"] = json!({"waiting": {"reason": "ErrImagePull"}});
})]
#[case::misconfigured("Available", "ContainerMisconfigured", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CreateContainerConfigError"}});
})]
#[case::unschedulable("Available", "Unschedulable", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
    ]});
})]
#[case::quota("Available", "PodsRefused", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.deployment["conditions"] = json!([
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
    ]);
})]
#[case::probe("Available", "PodsNotReady", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["conditions"][0]["status"] = json!("False");
    world.pods[0]["status"]["containerStatuses"][0]["ready"] = json!(false);
})]
#[case::federation("FederationVerified", "FicSubjectMismatch", |world: &mut World| {
    fail_federation(world, "FicSubjectMismatch", "Entra refused (AADSTS700213).");
})]
#[case::handshake("Verified", "ServerUnreachable", |world: &mut World| {
    let handshake = &mut world.document().handshake;
    handshake.outcome = contract::Outcome::Failed;
    handshake.reason = "ServerUnreachable".to_owned();
    handshake.server_info = None;
})]
fn one_cause_turns_one_condition_and_ready_and_mends_again(
    #[case] kind: &str,
    #[case] reason: &str,
    #[case] cause: Break,
) {
    let mut world = World::new();
    let good = world.pass();
    cause(&mut world);
    let bad = world.pass();
    assert_eq!(changed(&good, &bad), ["Ready", kind]);
    assert_eq!(
        told(&bad, ConditionType::parse(kind).unwrap()),
        pair("False", reason)
    );
    assert_eq!(told(&bad, ConditionType::Ready), pair("False", reason));
    let mended = World {
        server: world.server,
        now: world.now,
        ..World::new()
    }
    .pass();
    assert_eq!(told(&mended, ConditionType::Ready), pair("True", "Ready"));
    assert_eq!(told(&mended, ConditionType::parse(kind).unwrap()).0, "True");
}

#[test]
fn what_users_meet_at_entra_is_told_and_never_holds_ready_back() {
    let mut world = World::new();
    let good = world.pass();
    assert_eq!(told(&good, ConditionType::UserSignIn), pair("True", "SignedIn"));
    world.document().sign_in = Some(sign_in(contract::Outcome::Failed, "ConsentRequired", Some(60)));
    let bad = world.pass();
    assert_eq!(changed(&good, &bad), ["UserSignIn"]);
    assert_eq!(
        told(&bad, ConditionType::UserSignIn),
        pair("False", "ConsentRequired")
    );
    // A Pod that restarts has seen nobody, and takes nothing back.
    world.document().sign_in = Some(sign_in(contract::Outcome::Unknown, "NotObserved", None));
    assert_eq!(changed(&bad, &world.pass()), Vec::<&str>::new());
}

#[test]
fn no_command_that_somebody_wrote_stays_while_no_pod_reports() {
    let alter = |world: &mut World, kind: ConditionType| {
        let conditions = &mut world.server.status.as_mut().unwrap().conditions;
        let condition = conditions.iter_mut().find(|one| one.type_ == kind.as_str());
        let message = &mut condition.unwrap().message;
        assert!(message.contains("az "), "{message}");
        *message = message.replace(
            "22222222-2222-4222-8222-222222222222",
            "66666666-6666-4666-8666-666666666666",
        );
        message.push_str(" az ad sp delete --id 66666666-6666-4666-8666-666666666666");
    };
    for kind in [ConditionType::UserSignIn, ConditionType::FederationVerified] {
        let mut world = World::new();
        fail_federation(&mut world, "FicNotFound", "Entra refused.");
        world.document().sign_in = Some(sign_in(contract::Outcome::Failed, "ConsentRequired", Some(60)));
        let right = world.pass();
        alter(&mut world, kind);
        world.reports.clear();
        let now = world.pass();
        assert_eq!(condition(&now, kind).message, condition(&right, kind).message);
        assert_eq!(told(&now, kind), told(&right, kind));
    }
}

#[test]
fn without_users_nothing_is_said_of_sign_ins() {
    for report in [
        None,
        Some(sign_in(contract::Outcome::Unknown, "NotObserved", None)),
    ] {
        let mut world = World::new();
        world.document().sign_in = report;
        let status = world.pass();
        assert_eq!(
            told(&status, ConditionType::UserSignIn),
            pair("Unknown", "NotObserved")
        );
        assert_eq!(told(&status, ConditionType::Ready), pair("True", "Ready"));
        assert_eq!(world.pass(), status);
    }
}

#[test]
fn of_many_pods_the_newest_sign_in_counts() {
    let mut world = World::new();
    let mut second = world.reports[0].clone();
    world.document().sign_in = Some(sign_in(contract::Outcome::Failed, "PermissionMissing", Some(60)));
    second.document.as_mut().unwrap().sign_in =
        Some(sign_in(contract::Outcome::Verified, "SignedIn", Some(70)));
    world.reports.push(second.clone());
    let mut idle = second;
    idle.document.as_mut().unwrap().sign_in = Some(sign_in(contract::Outcome::Unknown, "NotObserved", None));
    world.reports.push(idle);
    assert_eq!(
        told(&world.pass(), ConditionType::UserSignIn),
        pair("True", "SignedIn")
    );
}

#[test]
fn a_container_that_has_just_started_is_given_time() {
    let mut world = World::new();
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["conditions"][0]["status"] = json!("False");
    world.pods[0]["status"]["containerStatuses"][0]["ready"] = json!(false);
    world.pods[0]["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] =
        json!(time(95).to_string());
    assert_eq!(
        told(&world.pass(), ConditionType::Available),
        pair("False", "RolloutInProgress")
    );
    world.now = 120;
    assert_eq!(
        told(&world.pass(), ConditionType::Available),
        pair("False", "PodsNotReady")
    );
}

#[test]
fn the_address_is_there_exactly_while_the_handshake_is_verified() {
    let mut world = World::new();
    assert!(world.pass().address.is_some());
    world.document().handshake.outcome = contract::Outcome::Failed;
    let status = world.pass();
    assert_eq!((status.address, status.server_info), (None, None));
}

#[test]
fn a_wrong_credential_names_the_fix_and_the_exact_command() {
    let mut world = World::new();
    fail_federation(&mut world, "FicIssuerMismatch", "Set the issuer.");
    let status = world.pass();
    let message = &condition(&status, ConditionType::FederationVerified).message;
    assert!(
        message.contains("Set the issuer of the federated identity credential"),
        "{message}"
    );
    assert!(
        message.ends_with(&status.federation.as_ref().unwrap().command.clone().unwrap()),
        "{message}"
    );
}

#[test]
fn a_fault_that_no_credential_cures_does_not_suggest_one() {
    let mut world = World::new();
    fail_federation(&mut world, "AppDisabled", "Enable sign-in.");
    assert_eq!(
        condition(&world.pass(), ConditionType::FederationVerified).message,
        "Entra does not accept this ServiceAccount's token as the application. Enable sign-in for the enterprise \
         application."
    );
}

#[rstest]
#[case("Unreachable")]
#[case("PolicyBlocked")]
fn an_outage_is_unknown_and_leaves_ready_as_it_was(#[case] reason: &str) {
    let mut world = World::new();
    let good = world.pass();
    world.document().federation.outcome = contract::Outcome::Unknown;
    world.document().federation.reason = reason.to_owned();
    let outage = world.pass();
    assert_eq!(
        told(&outage, ConditionType::FederationVerified),
        pair("Unknown", reason)
    );
    assert_eq!(told(&outage, ConditionType::Ready), pair("True", "Ready"));
    let ready = condition(&outage, ConditionType::Ready);
    assert!(
        ready.message.contains("FederationVerified is Unknown"),
        "{}",
        ready.message
    );
    assert_eq!(
        ready.last_transition_time,
        condition(&good, ConditionType::Ready).last_transition_time
    );
}

#[test]
fn what_was_never_seen_is_not_ready_however_quiet() {
    let mut world = World::new();
    world.document().federation.outcome = contract::Outcome::Unknown;
    world.document().federation.reason = "Unreachable".to_owned();
    assert_eq!(
        told(&world.pass(), ConditionType::Ready),
        pair("Unknown", "Verifying")
    );
}

#[test]
fn what_was_seen_of_other_pods_does_not_count_after_an_edit() {
    let mut before = World::new();
    before.pass();
    let mut world = World::of(quickstart_with(json!({"pod": {"annotations": {"a": "b"}}})));
    world.server.status = before.server.status;
    world.server.metadata.generation = Some(2);
    world.reports.clear();
    let status = world.pass();
    assert_eq!(
        told(&status, ConditionType::FederationVerified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(told(&status, ConditionType::Ready), pair("Unknown", "Verifying"));
    assert_eq!(
        (status.observed_generation, status.verified_generation),
        (2, Some(1))
    );
}

#[test]
fn what_was_seen_of_the_same_pods_counts_after_a_refused_edit_was_taken_back() {
    let mut world = World::new();
    let good = world.pass();
    // The Pod was replaced. No user has come since.
    world.document().sign_in = Some(sign_in(contract::Outcome::Unknown, "NotObserved", None));
    assert_eq!(changed(&good, &world.pass()), Vec::<&str>::new());
    world.server.metadata.generation = Some(2);
    world.refusals = Some(Refusals::one(Refusal::PublicUrlTaken {
        namespace: "mcp".to_owned(),
        name: "older".to_owned(),
    }));
    assert_eq!(told(&world.pass(), ConditionType::Accepted).0, "False");
    world.server.metadata.generation = Some(3);
    world.refusals = None;
    let status = world.pass();
    for &kind in ConditionType::ALL {
        let judgement = |status| find(status, kind).map(|condition| (&condition.status, &condition.reason));
        assert_eq!(
            judgement(&status.conditions),
            judgement(&good.conditions),
            "{kind:?}"
        );
    }
}

#[test]
fn ready_comes_back_during_an_outage_when_all_was_seen_before() {
    let mut world = World::new();
    world.pass();
    world.deployment["availableReplicas"] = json!(0);
    assert_eq!(told(&world.pass(), ConditionType::Ready).0, "False");
    world.deployment["availableReplicas"] = json!(1);
    world.document().federation.outcome = contract::Outcome::Unknown;
    world.document().federation.reason = "Unreachable".to_owned();
    assert_eq!(told(&world.pass(), ConditionType::Ready), pair("True", "Ready"));
}

#[test]
fn a_pod_that_starts_takes_nothing_back() {
    let mut world = World::new();
    let good = world.pass();
    let document = world.document();
    document.federation.outcome = contract::Outcome::Unknown;
    document.federation.observed_at = None;
    document.handshake.outcome = contract::Outcome::Unknown;
    document.handshake.reason = "ServerStarting".to_owned();
    document.handshake.server_info = None;
    assert_eq!(changed(&good, &world.pass()), Vec::<&str>::new());
    world.reports.clear();
    let gone = world.pass();
    assert_eq!(changed(&good, &gone), Vec::<&str>::new());
    assert!(gone.address.is_some() && gone.server_info.is_some());
}

#[rstest]
#[case::another_template(|report: &mut PodReport| report.template = Some("sha256:0".to_owned()))]
#[case::no_template(|report: &mut PodReport| report.template = None)]
#[case::another_subject(|report: &mut PodReport| {
    report.document.as_mut().unwrap().federation.subject = Some("system:serviceaccount:mcp:other".to_owned());
})]
#[case::another_audience(|report: &mut PodReport| {
    report.document.as_mut().unwrap().federation.audience = Some("api://other".to_owned());
})]
#[case::another_digest(|report: &mut PodReport| {
    report.document.as_mut().unwrap().configuration_digest = "sha256:0".to_owned();
})]
fn a_pod_of_another_configuration_proves_nothing(#[case] change: fn(&mut PodReport)) {
    let mut world = World::new();
    change(&mut world.reports[0]);
    let status = world.pass();
    assert_eq!(
        told(&status, ConditionType::FederationVerified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        told(&status, ConditionType::Verified),
        pair("Unknown", "NotObserved")
    );
}

#[rstest]
#[case::service_account(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}))]
#[case::log_level(json!({"sidecar": {"logLevel": "Trace"}}))]
#[case::environment(json!({"server": {"env": [{"name": "TZ", "value": "UTC"}]}}))]
fn a_pod_from_before_an_edit_of_its_template_proves_nothing(#[case] patch: Value) {
    let mut world = World::new();
    let before = world.pass();
    world.server = McpServer {
        status: Some(before),
        ..quickstart_with(patch)
    };
    world.server.metadata.generation = Some(2);
    // An old Pod says no subject: only its template tells it apart.
    world.document().federation.subject = None;
    let status = world.pass();
    for kind in [ConditionType::FederationVerified, ConditionType::Verified] {
        assert_eq!(told(&status, kind), pair("Unknown", "NotObserved"));
    }
    assert_eq!(status.verified_generation, Some(1));
}

#[test]
fn an_old_pod_is_no_trouble_of_the_new_template() {
    let mut world = World::new();
    world.server = quickstart_with(json!({"sidecar": {"logLevel": "Trace"}}));
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(
        told(&world.pass(), ConditionType::Available),
        pair("False", "RolloutInProgress")
    );
}

#[test]
fn no_pod_can_put_its_issuer_into_the_command() {
    let forged = "https://issuer.attacker.example/";
    let mut world = World::new();
    world.document().federation.issuer = Some(forged.to_owned());
    let status = world.pass();
    let federation = status.federation.clone().unwrap();
    assert_eq!(federation.issuer.as_deref(), Some(ISSUER));
    assert!(federation.command.unwrap().contains(ISSUER));
    let condition = condition(&status, ConditionType::FederationVerified);
    assert!(
        condition.message.contains("another issuer"),
        "{}",
        condition.message
    );
    assert!(!serde_json::to_string(&status).unwrap().contains("attacker"));

    world.document().federation.observed_at = None;
    assert_eq!(changed(&status, &world.pass()), Vec::<&str>::new(), "said once");

    // Not even where the API server shows none, and an earlier status proves nothing either.
    world
        .server
        .status
        .as_mut()
        .unwrap()
        .federation
        .as_mut()
        .unwrap()
        .issuer = Some(forged.to_owned());
    world.issuer = None;
    let federation = world.pass().federation.unwrap();
    assert_eq!((federation.issuer, federation.command), (None, None));
}

#[test]
fn a_silent_pod_is_unknown_after_a_while_and_never_for_an_operator_that_lost_sight() {
    let mut world = World::new();
    world.pass();
    let unread = |failures| {
        Err(Unread {
            failures,
            error: "silent".to_owned(),
        })
    };
    world.reports[0].document = unread(UNREACHABLE_AFTER - 1);
    assert_eq!(told(&world.pass(), ConditionType::Verified).0, "True");
    world.blind = true;
    world.reports[0].document = unread(UNREACHABLE_AFTER);
    assert_eq!(told(&world.pass(), ConditionType::Verified).0, "True");
    world.blind = false;
    let status = world.pass();
    assert_eq!(
        told(&status, ConditionType::Verified),
        pair("Unknown", "PodUnreachable")
    );
    assert_eq!(
        told(&status, ConditionType::FederationVerified),
        pair("Unknown", "PodUnreachable")
    );
    assert_eq!(told(&status, ConditionType::Ready).0, "True");
}

#[test]
fn a_refused_edit_stalls_and_speaks_of_what_still_runs() {
    let mut world = World::new();
    let good = world.pass();
    world.server.metadata.generation = Some(2);
    let refusal = Refusal::Field {
        field: "publicUrl",
        problem: "must be an origin".to_owned(),
    };
    world.refusals = Some(Refusals::one(refusal));
    let status = world.pass();
    assert_eq!(status.observed_generation, 2);
    assert_eq!(
        told(&status, ConditionType::Accepted),
        pair("False", "InvalidSpec")
    );
    assert_eq!(told(&status, ConditionType::Stalled), pair("True", "InvalidSpec"));
    assert_eq!(told(&status, ConditionType::Ready), pair("False", "InvalidSpec"));
    for kind in [
        ConditionType::Available,
        ConditionType::FederationVerified,
        ConditionType::Verified,
    ] {
        assert_eq!(
            condition(&status, kind),
            condition(&good, kind),
            "still of generation 1"
        );
    }
    assert_eq!(status.address, good.address);
    let without_command = good.federation.map(|federation| FederationStatus {
        command: None,
        ..federation
    });
    assert_eq!(
        status.federation, without_command,
        "a command names the application of an accepted spec alone"
    );
}

#[test]
fn nothing_in_the_status_of_a_refused_object_outlives_a_change_by_somebody_else() {
    let mut world = World::new();
    world.pass();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    let honest = world.pass();
    let status = world.server.status.as_mut().unwrap();
    let federation = status.federation.as_mut().unwrap();
    federation.command = Some("az ad app delete --id 1".to_owned());
    federation.subject = "system:serviceaccount:mcp:attacker".to_owned();
    federation.redirect_uri = "https://mcp.attacker.example/callback".to_owned();
    status.address.as_mut().unwrap().url = "https://mcp.attacker.example/mcp".to_owned();
    assert_eq!(world.pass(), honest);
}

#[test]
fn where_nothing_is_known_to_run_nobody_speaks_for_it() {
    let mut world = World::new();
    world.pass();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    world.configurations.clear();
    let status = world.pass();
    for kind in [
        ConditionType::FederationVerified,
        ConditionType::Verified,
        ConditionType::UserSignIn,
    ] {
        assert_eq!(told(&status, kind), pair("Unknown", "NotObserved"));
    }
    assert_eq!((status.federation, status.address), (None, None));
}

#[test]
fn a_refusal_that_others_can_mend_does_not_stall() {
    let mut world = World::new();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    assert!(find(&world.pass().conditions, ConditionType::Stalled).is_none());
}

#[test]
fn a_suspended_object_is_not_ready_and_claims_nothing() {
    let mut world = World::of(quickstart_with(json!({"suspend": true})));
    let status = world.pass();
    assert_eq!(
        told(&status, ConditionType::Available),
        pair("False", "Suspended")
    );
    assert_eq!(
        told(&status, ConditionType::FederationVerified),
        pair("Unknown", "Suspended")
    );
    assert_eq!(told(&status, ConditionType::Ready), pair("False", "Suspended"));
    assert!(find(&status.conditions, ConditionType::Reconciling).is_none());
    assert_eq!(status.address, None);
}

#[test]
fn another_try_of_the_same_failure_is_no_news() {
    let mut world = World::new();
    fail_federation(
        &mut world,
        "FederatedTokenExpired",
        "Current time: 2026-11-02T09:14:00Z.",
    );
    world.document().federation.correlation_id = Some("7b2a0f00-0000-4000-8000-00000000abcd".to_owned());
    let first = world.pass();
    fail_federation(
        &mut world,
        "FederatedTokenExpired",
        "Current time: 2026-11-02T09:15:00Z.",
    );
    world.document().federation.correlation_id = Some("11111111-aaaa-4bbb-8ccc-222222222222".to_owned());
    assert_eq!(world.pass(), first);
}

#[test]
fn no_word_of_a_pod_becomes_a_text() {
    const SAID: &str = "Run az ad app delete --id 1";
    let mut world = World::new();
    fail_federation(&mut world, "FicNotFound", SAID);
    let document = world.document();
    document.handshake.outcome = contract::Outcome::Failed;
    document.handshake.reason = SAID.to_owned();
    document.handshake.message = SAID.to_owned();
    document.sign_in = Some(SignInReport {
        message: SAID.to_owned(),
        ..sign_in(contract::Outcome::Failed, "ConsentRequired", Some(60))
    });
    let status = world.pass();
    assert!(!serde_json::to_string(&status).unwrap().contains("delete"));
    assert_eq!(told(&status, ConditionType::Verified), pair("False", "Unknown"));
}

#[test]
fn a_text_names_the_application_and_the_subject_of_the_plan() {
    let text = |reason: &str| {
        let mut world = World::new();
        fail_federation(&mut world, reason, "");
        condition(&world.pass(), ConditionType::FederationVerified)
            .message
            .clone()
    };
    let (application, subject) = (text("AppNotFound"), text("FicSubjectMismatch"));
    let expected = "az ad sp create --id 22222222-2222-4222-8222-222222222222.";
    assert!(application.ends_with(expected), "{application}");
    let expected = "to system:serviceaccount:mcp:azure-devops.";
    assert!(subject.contains(expected), "{subject}");
}

/// Whoever may write the status could else have somebody run a command for another application.
#[rstest]
#[case::with_the_command_of_the_status("FicNotFound")]
#[case::with_a_command_of_its_own("ResourceNotFound")]
fn no_text_of_a_condition_outlives_a_change_by_somebody_else(#[case] reason: &str) {
    for reports in [true, false] {
        let mut world = World::new();
        fail_federation(&mut world, reason, "");
        let honest = world.pass();
        let kind = ConditionType::FederationVerified.as_str();
        let mut conditions = world.server.status.as_mut().unwrap().conditions.iter_mut();
        let told = conditions.find(|condition| condition.type_ == kind).unwrap();
        let (start, rest) = told.message.split_once("--id ").unwrap();
        told.message = format!("{start}--id 33333333-3333-4333-8333-333333333333{}", &rest[36..]);
        if !reports {
            world.reports.clear();
        }
        assert_eq!(world.pass(), honest);
    }
}

#[test]
fn an_unknown_reason_is_named_unknown() {
    let mut world = World::new();
    fail_federation(&mut world, "SomethingNew", "A newer sidecar says so.");
    assert_eq!(
        told(&world.pass(), ConditionType::FederationVerified),
        pair("False", "Unknown")
    );
}

#[test]
fn a_failing_pod_outweighs_others_and_a_starting_one_does_not() {
    let mut world = World::new();
    let mut other = world.reports[0].clone();
    other.document.as_mut().unwrap().federation.outcome = contract::Outcome::Unknown;
    world.reports.push(other);
    assert_eq!(told(&world.pass(), ConditionType::FederationVerified).0, "True");
    let other = world.reports[1].document.as_mut().unwrap();
    other.federation.outcome = contract::Outcome::Failed;
    other.federation.reason = "FicNotFound".to_owned();
    assert_eq!(
        told(&world.pass(), ConditionType::FederationVerified),
        pair("False", "FicNotFound")
    );
}

#[test]
fn a_transition_has_its_time_and_keeps_it() {
    let mut world = World::new();
    let first = condition(&world.pass(), ConditionType::Ready)
        .last_transition_time
        .clone();
    assert_eq!(first.0, time(100));
    assert_eq!(
        condition(&world.pass(), ConditionType::Ready).last_transition_time,
        first
    );
    world.document().handshake.outcome = contract::Outcome::Failed;
    assert_eq!(
        condition(&world.pass(), ConditionType::Ready)
            .last_transition_time
            .0,
        time(120)
    );
}

#[test]
fn a_failed_step_is_told_and_claims_no_generation() {
    let mut world = World::new();
    world.pass();
    world.server.metadata.generation = Some(2);
    let status = with_failed_step(
        &world.server,
        "failed to apply Deployment a: forbidden",
        time(200),
    );
    assert_eq!(
        told(&status, ConditionType::Reconciling),
        pair("True", "StepFailed")
    );
    assert!(
        condition(&status, ConditionType::Reconciling)
            .message
            .contains("forbidden")
    );
    assert_eq!(status.observed_generation, 1);
    assert_eq!(told(&status, ConditionType::Ready).0, "True");
    let after = world.pass();
    assert!(find(&after.conditions, ConditionType::Reconciling).is_none());
}

#[test]
fn messages_and_texts_fit_into_the_schema() {
    let mut world = World::new();
    fail_federation(&mut world, "FicNotFound", &"ü".repeat(5000));
    world.issuer = Some(format!("https://{}", "'".repeat(490)));
    world.document().handshake.server_info.as_mut().unwrap().name = "n".repeat(1000);
    let status = world.pass();
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.message.chars().count() <= 4096)
    );
    assert!(status.server_info.unwrap().name.len() <= 256);
    assert!(
        status
            .federation
            .unwrap()
            .command
            .is_none_or(|command| command.len() <= 2048)
    );
}
