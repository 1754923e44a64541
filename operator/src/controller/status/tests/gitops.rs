//! Statuses as `GitOps` tools see them, computed by the functions that the operator uses. `tests/gitops` runs each through
//! Argo CD's and Flux's own code. With `INSTA_UPDATE=always` the files are written.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::api::crd;
use crate::controller::status::undecodable::with_error;

/// An object with a status, and the health that tools must read from it.
struct Row {
    /// The name of the file.
    name: &'static str,

    /// The row of the table in `docs/gitops.md`.
    what: &'static str,

    object: Value,
    argocd: &'static str,
    message: Message,

    /// kstatus without knowledge of an `McpServer`, as any tool uses it.
    kstatus: &'static str,

    /// kustomize-controller with the expressions of `examples/flux`.
    flux: &'static str,
}

/// The message that Argo CD must show.
enum Message {
    /// Reason and message of this condition.
    Of(ConditionType),

    /// This text.
    Text(&'static str),
}

impl Row {
    fn expected(&self) -> Value {
        let message = match self.message {
            Message::Text(text) => text.to_owned(),
            Message::Of(kind) => {
                let conditions = self.object["status"]["conditions"].as_array().unwrap();
                let condition = conditions
                    .iter()
                    .find(|condition| condition["type"] == kind.as_str());
                let text = |key: &str| condition.unwrap()[key].as_str().unwrap().to_owned();
                format!("{}: {}", text("reason"), text("message"))
            }
        };
        json!({
            "argocd": {"status": self.argocd, "message": message}, "kstatus": self.kstatus, "flux": self.flux,
        })
    }

    fn file(&self) -> String {
        let content = json!({"expected": self.expected(), "object": self.object});
        format!("{}\n", serde_json::to_string_pretty(&content).unwrap())
    }

    fn in_docs(&self) -> String {
        format!(
            "| {} | {} | {} | {} |",
            self.what, self.argocd, self.kstatus, self.flux
        )
    }
}

/// The fields that the tools read. With all fields, these files would change with each change of the API or of the Pods.
fn object(world: &World) -> Value {
    let whole = serde_json::to_value(&world.server).unwrap();
    let mut object = json!({"status": {}});
    for key in ["apiVersion", "kind", "metadata"] {
        object[key] = whole[key].clone();
    }
    for key in ["observedGeneration", "conditions"] {
        object["status"][key] = whole["status"][key].clone();
    }
    object
}

/// The object after one reconcile in a world in which these things are different.
fn after(change: impl FnOnce(&mut World)) -> Value {
    let mut world = World::new();
    world.reconcile();
    change(&mut world);
    world.reconcile();
    object(&world)
}

fn without_pods(world: &mut World) {
    world.deployment = json!({});
    world.pods.clear();
    world.reports.clear();
}

fn new_object(change: impl FnOnce(&mut World)) -> Value {
    let mut world = World::new();
    change(&mut world);
    world.reconcile();
    object(&world)
}

fn refused(refusal: Refusal) -> impl FnOnce(&mut World) {
    move |world| {
        world.server.metadata.generation = Some(2);
        world.refusals = Some(Refusals::one(refusal));
    }
}

fn invalid() -> Refusal {
    Refusal::Field {
        field: "publicUrl",
        problem: "must be an origin".to_owned(),
    }
}

fn suspended() -> World {
    let mut world = World::of(quickstart_with(json!({"suspend": true})));
    without_pods(&mut world);
    world.deployment = json!({"observedGeneration": 1});
    world
}

/// The object of another world with the status of this one.
fn edited(before: World, server: McpServer) -> World {
    let mut world = World::of(server);
    world.server.status = before.server.status;
    world.server.metadata.generation = Some(2);
    world
}

fn fresh() -> Value {
    let mut object = object(&World::new());
    let crd = serde_json::to_value(crd::mcp_server()).unwrap();
    let default = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/default");
    object["status"] = default.unwrap().clone();
    object
}

fn with_failing_step(mut world: World) -> Value {
    world.reconcile();
    let status = with_failed_step(
        &world.server,
        "failed to apply Deployment a: forbidden",
        time(200),
    );
    world.server.status = Some(status);
    object(&world)
}

fn undecodable() -> Value {
    let mut object = after(|_| ());
    let status = object["status"].as_object().unwrap().clone();
    let message = "this version of the operator cannot read the object: spec: unknown variant `Quantum`";
    object["metadata"]["generation"] = json!(2);
    object["status"] = json!(with_error(status, message, 2, None, time(200)));
    object
}

fn starting() -> Vec<Row> {
    let mut edit = World::new();
    edit.reconcile();
    edit.server.metadata.generation = Some(2);
    let mut ready = World::new();
    ready.reconcile();
    let mut rollout = edited(ready, quickstart_with(json!({"sidecar": {"logLevel": "Debug"}})));
    without_pods(&mut rollout);
    rollout.reconcile();
    let row = |name, what, object, argocd, message, kstatus| Row {
        name,
        what,
        object,
        argocd,
        message,
        kstatus,
        flux: kstatus,
    };
    let behind = || Message::Text("the operator has not processed this generation yet");
    vec![
        row(
            "fresh",
            "created, not yet seen by the operator",
            fresh(),
            "Progressing",
            behind(),
            "InProgress",
        ),
        row(
            "first-rollout",
            "created, its first Pods start",
            new_object(without_pods),
            "Progressing",
            Message::Of(ConditionType::Reconciling),
            "InProgress",
        ),
        row(
            "results-missing",
            "its Pods run, Entra or the server has not answered yet",
            new_object(|world| {
                world.document().federation.outcome = contract::Outcome::Unknown;
                world.document().federation.reason = "Unreachable".to_owned();
            }),
            "Progressing",
            Message::Of(ConditionType::Ready),
            "InProgress",
        ),
        row(
            "first-user-missing",
            "its server answers only users, and none has called it yet",
            new_object(|world| {
                world.document().handshake.outcome = contract::Outcome::Unknown;
                world.document().handshake.reason = "AuthRequired".to_owned();
            }),
            "Progressing",
            Message::Of(ConditionType::Ready),
            "InProgress",
        ),
        row(
            "ready",
            "ready",
            after(|_| ()),
            "Healthy",
            Message::Of(ConditionType::Ready),
            "Current",
        ),
        row(
            "outage-of-entra",
            "ready, and Entra does not answer now",
            after(|world| {
                world.document().federation.outcome = contract::Outcome::Unknown;
                world.document().federation.reason = "Unreachable".to_owned();
            }),
            "Healthy",
            Message::Of(ConditionType::Ready),
            "Current",
        ),
        row(
            "edit-not-processed",
            "edited, the edit not yet seen by the operator",
            object(&edit),
            "Progressing",
            behind(),
            "InProgress",
        ),
        row(
            "rollout",
            "edited, its new Pods start",
            object(&rollout),
            "Progressing",
            Message::Of(ConditionType::Reconciling),
            "InProgress",
        ),
    ]
}

fn broken() -> Vec<Row> {
    let row = |name, what, object| Row {
        name,
        what,
        object,
        argocd: "Degraded",
        message: Message::Of(ConditionType::Ready),
        kstatus: "InProgress",
        flux: "Failed",
    };
    vec![
        row(
            "federated-credential-missing",
            "the application has no federated credential",
            new_object(|world| fail_federation(world, "FicNotFound", "Entra refused (AADSTS70021).")),
        ),
        row(
            "federated-credential-removed",
            "ready before, the federated credential is gone",
            after(|world| fail_federation(world, "FicSubjectMismatch", "Entra refused (AADSTS700213).")),
        ),
        row(
            "server-unreachable",
            "ready before, the server does not answer",
            after(|world| {
                world.document().handshake.outcome = contract::Outcome::Failed;
                world.document().handshake.reason = "ServerUnreachable".to_owned();
            }),
        ),
        row(
            "container-crashing",
            "a container crashes",
            after(|world| {
                world.deployment["availableReplicas"] = json!(0);
                world.pods[0]["status"]["containerStatuses"][0]["state"] =
                    json!({"waiting": {"reason": "CrashLoopBackOff"}});
            }),
        ),
        row(
            "reference-missing",
            "refused until something that it names exists",
            after(refused(Refusal::ServiceAccountNotFound {
                name: "shared".to_owned(),
            })),
        ),
    ]
}

fn stalled() -> Vec<Row> {
    let row = |name, what, object| Row {
        name,
        what,
        object,
        argocd: "Degraded",
        message: Message::Of(ConditionType::Stalled),
        kstatus: "Failed",
        flux: "Failed",
    };
    let mut suspended = suspended();
    refused(invalid())(&mut suspended);
    suspended.reconcile();
    let mut failing = World::new();
    refused(invalid())(&mut failing);
    vec![
        row(
            "invalid-spec",
            "refused until it is edited",
            after(refused(invalid())),
        ),
        row(
            "public-url-taken",
            "an older object owns its `publicUrl`",
            new_object(|world| {
                world.refusals = Some(Refusals::one(Refusal::PublicUrlTaken {
                    namespace: "mcp".to_owned(),
                    name: "older".to_owned(),
                }));
            }),
        ),
        row(
            "undecodable",
            "this version of the operator cannot read it",
            undecodable(),
        ),
        row(
            "suspended-and-invalid",
            "suspended, and refused until it is edited",
            object(&suspended),
        ),
        Row {
            // kstatus looks at `Reconciling` first.
            kstatus: "InProgress",
            ..row(
                "step-failed-while-stalled",
                "refused until it is edited, and a step of the operator fails",
                with_failing_step(failing),
            )
        },
    ]
}

fn others() -> Vec<Row> {
    let mut paused = suspended();
    paused.reconcile();
    let paused_object = object(&paused);
    let mut resumed = edited(paused, server(QUICKSTART));
    without_pods(&mut resumed);
    resumed.reconcile();
    let mut deleted = after(|_| ());
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:10:00Z");
    vec![
        Row {
            name: "suspended",
            what: "suspended",
            object: paused_object,
            argocd: "Suspended",
            message: Message::Of(ConditionType::Ready),
            kstatus: "InProgress",
            flux: "Current",
        },
        Row {
            name: "resumed",
            what: "no longer suspended, its Pods start",
            object: object(&resumed),
            argocd: "Progressing",
            message: Message::Of(ConditionType::Reconciling),
            kstatus: "InProgress",
            flux: "InProgress",
        },
        Row {
            name: "step-failed",
            what: "ready, and a step of the operator fails again and again",
            object: with_failing_step(World::new()),
            argocd: "Progressing",
            message: Message::Of(ConditionType::Reconciling),
            kstatus: "InProgress",
            flux: "InProgress",
        },
        Row {
            name: "deleted",
            what: "deleted, a finalizer of another program keeps it",
            object: deleted,
            argocd: "Progressing",
            // Argo CD looks at no script for an object that is being deleted.
            message: Message::Text("Pending deletion"),
            kstatus: "Terminating",
            flux: "InProgress",
        },
    ]
}

fn rows() -> Vec<Row> {
    [starting(), broken(), stalled(), others()]
        .into_iter()
        .flatten()
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/gitops/statuses")
}

#[test]
fn the_statuses_that_gitops_tools_are_tested_with_are_those_of_the_operator() {
    let update = std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always");
    let mut names = Vec::new();
    for row in rows() {
        let path = folder().join(format!("{}.json", row.name));
        if update {
            fs::write(&path, row.file()).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == row.file(),
            "{} is out of date; run this test with INSTA_UPDATE=always, and look at the difference",
            path.display()
        );
        names.push(format!("{}.json", row.name));
    }
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn the_docs_say_what_gitops_tools_make_of_each_status() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gitops.md");
    let docs = fs::read_to_string(path).unwrap();
    for row in rows() {
        assert!(
            docs.contains(&row.in_docs()),
            "docs/gitops.md lacks: {}",
            row.in_docs()
        );
    }
}
