//! Tests the admission policies of a cluster-wide installation. Every request is a dry run as the operator's
//! account.

mod pods;

use std::time::Duration;

use behalf_runtime::error_chain;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::release::Release;
use crate::ensure;
use crate::world::{TestResult, World};

/// The release's namespace. No operator serves it.
const NAMESPACE: &str = "rights-policy";

const OPERATOR: &str = "system:serviceaccount:rights-policy:behalf-operator";

/// API version and kind of the owner that the policy requires.
const OURS: Option<(&str, &str)> = Some(("behalf.dev/v1alpha1", "McpServer"));

const UNLIKE: Option<&str> =
    Some("may only write objects that carry its label and are controlled by that McpServer");
const FOREIGN: Option<&str> = Some("may only change or delete objects that are controlled by an McpServer");

const PUBLISHED: Option<&str> = Some("must have the type ClusterIP");
const EXTERNAL: Option<&str> = Some("may not add externalIPs to a Service");

/// Both policies refuse the object, and the API server names the one that answers first.
const EITHER: Option<&str> = Some("ValidatingAdmissionPolicy 'rights-policy-behalf-operator");

const CREATE: &[&str] = &["create", "--validate=false", "--filename", "-"];
const APPLY: &[&str] = &[
    "apply",
    "--server-side",
    "--force-conflicts",
    "--validate=false",
    "--filename",
    "-",
];
const DELETE: &[&str] = &["delete", "--wait=false", "--filename", "-"];

/// One request: a description, kubectl's arguments, the object, and the expected refusal, if any.
type Row = (&'static str, &'static [&'static str], Value, Option<&'static str>);

pub(super) async fn limits_what_the_operator_writes(world: &World) -> TestResult {
    let set = [
        "clusterWide=true",
        "allowed.serviceAccounts={rights-policy/shared,other/foreign}",
    ];
    let release = Release::apply(world, NAMESPACE, &set, |_| true).await?;
    // The owner must exist, or the garbage collector deletes what it owns.
    let owner = create(world, &owner())?;
    let uid = &owner["metadata"]["uid"];
    // The policy does not limit an administrator.
    for (name, label, owner) in [
        ("foreign", None, None),
        ("own", Some("shop"), OURS),
        ("unlabelled", None, OURS),
    ] {
        create(world, &object("ConfigMap", name, label, owner, uid))?;
    }
    let published = service("published", &json!({"externalIPs": ["192.0.2.1"]}), uid);
    create(world, &published)?;
    let written = pods::Written::read(world, uid)?;
    create(world, &written.edited_by_somebody())?;
    // The API server reads a new policy after a moment.
    let limit = Instant::now() + Duration::from_secs(30);
    for forbidden in [
        object("ConfigMap", "bare", None, None, uid),
        service("a", &json!({"type": "NodePort"}), uid),
        written.on_its_node(),
    ] {
        while request(world, CREATE, NAMESPACE, &forbidden).is_ok() {
            ensure!(Instant::now() < limit, "the policies are not in force after 30 s");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    let mut wrong = Vec::new();
    for (what, arguments, object, refusal) in rows(uid).into_iter().chain(written.rows()) {
        let kind = &object["kind"];
        match (request(world, arguments, NAMESPACE, &object), refusal) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => wrong.push(format!("{what} ({kind}) was allowed")),
            (Err(error), Some(refusal)) if error.contains(refusal) => {}
            (Err(error), _) => wrong.push(format!("{what} ({kind}): {error}")),
        }
    }
    let complete = object("ConfigMap", "a", Some("shop"), OURS, uid);
    for namespace in ["kube-system", "kube-public"] {
        match request(world, CREATE, namespace, &complete) {
            Err(error) if error.contains("may not write in namespaces kube-*") => {}
            answer => wrong.push(format!("a complete object in {namespace}: {answer:?}")),
        }
    }
    drop(release);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn rows(uid: &Value) -> Vec<Row> {
    let row =
        |what, arguments, name: &str, label: Option<&str>, owner: Option<(&str, &str)>, refusal| -> Row {
            let object = object("ConfigMap", name, label, owner, uid);
            (what, arguments, object, refusal)
        };
    let shop = Some("shop");
    let deployment = Some(("apps/v1", "Deployment"));
    let namesake = Some(("evil.example/v1", "McpServer"));
    let mut rows = vec![
        row("label and owner", CREATE, "a", shop, OURS, None),
        row("no owner", CREATE, "a", shop, None, UNLIKE),
        row("no label", CREATE, "a", None, OURS, UNLIKE),
        row("another's label", CREATE, "a", Some("other"), OURS, UNLIKE),
        row("an owner of another kind", CREATE, "a", shop, deployment, UNLIKE),
        row("an owner of another group", CREATE, "a", shop, namesake, UNLIKE),
        row("a change of its own", APPLY, "own", shop, OURS, None),
        row("labels put back", APPLY, "unlabelled", shop, OURS, None),
        row("a take-over", APPLY, "foreign", shop, OURS, FOREIGN),
        row("a deletion of its own", DELETE, "own", shop, OURS, None),
        row("a foreign deletion", DELETE, "foreign", None, None, FOREIGN),
    ];
    for kind in [
        "ServiceAccount",
        "Secret",
        "Service",
        "NetworkPolicy",
        "PodDisruptionBudget",
    ] {
        let bare = object(kind, "a", None, None, uid);
        let complete = object(kind, "a", shop, OURS, uid);
        rows.push(("a bare object", CREATE, bare, UNLIKE));
        rows.push(("a complete object", CREATE, complete, None));
    }
    for (what, name, arguments, spec, refusal) in [
        ("a node port", "a", CREATE, json!({"type": "NodePort"}), PUBLISHED),
        (
            "a load balancer",
            "a",
            CREATE,
            json!({"type": "LoadBalancer"}),
            PUBLISHED,
        ),
        (
            "an external name",
            "a",
            CREATE,
            json!({"type": "ExternalName", "externalName": "evil.example"}),
            PUBLISHED,
        ),
        (
            "an external address",
            "a",
            CREATE,
            json!({"externalIPs": ["192.0.2.1"]}),
            EXTERNAL,
        ),
        (
            "one more external address",
            "published",
            APPLY,
            json!({"externalIPs": ["192.0.2.1", "192.0.2.2"]}),
            EXTERNAL,
        ),
        (
            "a change beside an administrator's external address",
            "published",
            APPLY,
            json!({"publishNotReadyAddresses": true}),
            None,
        ),
    ] {
        rows.push((what, arguments, service(name, &spec, uid), refusal));
    }
    let bare = object("Deployment", "a", None, None, uid);
    rows.push(("a bare object", CREATE, bare, EITHER));
    rows
}

/// Creates an object as an administrator.
fn create(world: &World, object: &Value) -> TestResult<Value> {
    let arguments = [
        "--namespace",
        NAMESPACE,
        "create",
        "--output",
        "json",
        "--filename",
        "-",
    ];
    let text = world
        .running
        .cluster
        .kubectl_with(&arguments, &object.to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// Sends a dry-run request as the operator's account.
fn request(world: &World, arguments: &[&str], namespace: &str, object: &Value) -> Result<(), String> {
    let common = ["--namespace", namespace, "--as", OPERATOR, "--dry-run=server"];
    let cluster = &world.running.cluster;
    cluster
        .kubectl_with(&[arguments, &common].concat(), &object.to_string())
        .map(|_| ())
        .map_err(|error| error_chain(&error))
}

/// The `McpServer` that owns the written objects.
fn owner() -> Value {
    json!({
        "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "shop"},
        "spec": {
            "publicUrl": "https://rights-policy.example", "suspend": true,
            "entra": {
                "tenantId": "11111111-1111-4111-8111-111111111111",
                "clientId": "22222222-2222-4222-8222-222222222222",
            },
            "server": {"azureDevOps": {"organization": "contoso"}},
        },
    })
}

/// A Service of the owner with these fields of its spec.
fn service(name: &str, spec: &Value, uid: &Value) -> Value {
    let mut service = object("Service", name, Some("shop"), OURS, uid);
    for (field, value) in spec.as_object().into_iter().flatten() {
        service["spec"][field] = value.clone();
    }
    service
}

/// An object of a kind that the operator writes. `owner` is an API version and a kind; the owner's name is "shop".
fn object(kind: &str, name: &str, label: Option<&str>, owner: Option<(&str, &str)>, uid: &Value) -> Value {
    let (api_version, spec) = match kind {
        "Deployment" => (
            "apps/v1",
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            }}),
        ),
        "NetworkPolicy" => ("networking.k8s.io/v1", json!({"podSelector": {}})),
        "PodDisruptionBudget" => ("policy/v1", json!({"maxUnavailable": 1})),
        "Service" => ("v1", json!({"ports": [{"port": 80}]})),
        _ => ("v1", Value::Null),
    };
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if !spec.is_null() {
        object["spec"] = spec;
    }
    if let Some(label) = label {
        object["metadata"]["labels"] = json!({
            "app.kubernetes.io/managed-by": "behalf-operator", "behalf.dev/mcp-server": label,
        });
    }
    if let Some((api_version, kind)) = owner {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": api_version, "kind": kind, "name": "shop", "controller": true, "uid": uid,
        }]);
    }
    object
}
