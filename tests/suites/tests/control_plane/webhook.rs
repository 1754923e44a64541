//! A mutating webhook changes every child, as a cluster's policies do. The operator leaves the changes alone, and writes nothing
//! more than it would without them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::listener::{Listener, Serving};
use behalf_tests::writes::Look;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::pods;
use crate::world::{NAMESPACE, PRESENT, World};

/// The annotation that the webhook adds.
const ANNOTATION: &str = "webhook.example/seen";

/// The requests to which the webhook raises those of each container, as AKS deployment safeguards do.
const RAISED: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "100Mi")];

/// The kinds of the children: the resource with its group, and the number of objects of this test.
const CHILDREN: [(&str, &str, usize); 7] = [
    ("apps", "deployments", 1),
    ("", "services", 1),
    ("", "serviceaccounts", 1),
    ("", "configmaps", 1),
    ("", "secrets", 2),
    ("networking.k8s.io", "networkpolicies", 1),
    ("policy", "poddisruptionbudgets", 1),
];

/// Number of times that the object is reconciled at least while nothing may be written.
const RECONCILES: usize = 10;

/// Time without a change after which an object counts as settled.
const SETTLED: Duration = Duration::from_secs(10);

#[test]
fn what_a_webhook_adds_to_the_children_stays_and_causes_no_write() {
    let runtime = Runtime::new().unwrap();
    let mut world = World::without_operator();
    let _serving = runtime.block_on(serve(&world));
    world.until("the webhook is called", || is_called(&world));
    runtime.spawn(pods::run(runtime.block_on(world.client())));
    let options = ["--log", "Trace"];
    world.replace_operator(&options);
    let name = world.create(PRESENT, "high-availability/mcpserver.yaml");
    world.reconciled(PRESENT, &name);
    let mut settled = until_settled(&world, &name);
    each_child_has_the_changes(&world, &name);

    world.patch(
        PRESENT,
        &name,
        &json!({"spec": {"sidecar": {"logLevel": "Debug"}}}),
    );
    world.reconciled(PRESENT, &name);
    let edited = until_settled(&world, &name);
    assert_ne!(edited, settled, "the edit changed no child");
    each_child_has_the_changes(&world, &name);

    // A new operator does not know what it wrote before.
    for operator in ["the operator", "the next operator"] {
        settled = until_settled(&world, &name);
        assert_eq!(settled, edited, "{operator} changed children");
        let before = look(&world, &name);
        let reconciles = count(&world, &name) + RECONCILES;
        let mut round = 0;
        world.until(&format!("{RECONCILES} reconciles"), || {
            round += 1;
            trigger(&world, round);
            // The operator begins to reconcile when its watches have paused for 100 ms.
            std::thread::sleep(Duration::from_millis(400));
            count(&world, &name) >= reconciles
        });
        let after = look(&world, &name);
        let writes = before.writes_until(&after);
        assert!(writes.is_empty(), "{operator} wrote:\n{}", writes.join("\n"));
        each_child_has_the_changes(&world, &name);
        world.replace_operator(&options);
        world.until("the next operator reconciles", || {
            count(&world, &name) > reconciles
        });
    }
}

/// Serves the webhook with TLS on loopback, and registers it for the children in the namespace of the test.
async fn serve(world: &World) -> Serving {
    let authority = CertificateAuthority::generate("webhook").unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Listener::bind(address, Some(&identity)).await.unwrap();
    let url = format!("{}/mutate", listener.base_url());
    let serving = listener.serve(Router::new().route("/mutate", post(mutate)));
    let rules: Vec<Value> = CHILDREN
        .iter()
        .map(|(group, resource, _)| {
            json!({"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource]})
        })
        .collect();
    world.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "webhook.example"},
        "webhooks": [{
            "name": "mutate.webhook.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": url, "caBundle": ByteString(authority.certificate_pem().into())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "rules": rules,
        }],
    }));
    serving
}

/// Adds the annotation, and raises the requests of the containers of a Deployment.
async fn mutate(Json(review): Json<Value>) -> Json<Value> {
    let object = &review["request"]["object"];
    let mut annotations = object["metadata"]["annotations"].clone();
    annotations[ANNOTATION] = json!("yes");
    let mut patch = vec![json!({"op": "add", "path": "/metadata/annotations", "value": annotations})];
    for list in LISTS {
        let containers = object.pointer(list).and_then(Value::as_array);
        for (number, container) in containers.into_iter().flatten().enumerate() {
            let mut resources = container["resources"].clone();
            for (resource, quantity) in RAISED {
                resources["requests"][resource] = json!(quantity);
            }
            let member = format!("{list}/{number}/resources");
            patch.push(json!({"op": "add", "path": member, "value": resources}));
        }
    }
    let patch = ByteString(json!(patch).to_string().into_bytes());
    Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch},
    }))
}

/// Where a Deployment has its containers.
const LISTS: [&str; 2] = [
    "/spec/template/spec/initContainers",
    "/spec/template/spec/containers",
];

/// Whether the API server calls the webhook: it does so a moment after the registration.
fn is_called(world: &World) -> bool {
    let create = [
        "--namespace",
        NAMESPACE,
        "create",
        "configmap",
        "probe",
        "--dry-run=server",
        "--output=json",
    ];
    world.kubectl(&create).contains(ANNOTATION)
}

/// The children of the object by kind.
fn children(world: &World, name: &str) -> Vec<(&'static str, Vec<Value>)> {
    let label = format!("behalf.dev/mcp-server={name}");
    let list = |resource: &'static str| {
        let get = ["--namespace", NAMESPACE, "get", resource, "--selector", &label];
        let output = ["--show-managed-fields", "--output=json"];
        let text = world.kubectl(&[&get[..], &output].concat());
        let list: Value = serde_json::from_str(&text).unwrap();
        (resource, list["items"].as_array().unwrap().clone())
    };
    CHILDREN.map(|(_, resource, _)| list(resource)).into()
}

/// One line for each child, with its version.
fn versions(world: &World, name: &str) -> Vec<String> {
    let mut versions = Vec::new();
    for (resource, objects) in children(world, name) {
        for object in objects {
            let metadata = &object["metadata"];
            versions.push(format!(
                "{resource}/{}={}",
                metadata["name"], metadata["resourceVersion"]
            ));
        }
    }
    versions
}

fn look(world: &World, name: &str) -> Look {
    let metrics = world.kubectl(&["get", "--raw", "/metrics"]);
    let mut versions = versions(world, name);
    let object = world.get(PRESENT, name, "");
    versions.push(format!(
        "mcpservers/{name}={}",
        object["metadata"]["resourceVersion"]
    ));
    Look::new(versions, &metrics).unwrap()
}

/// Waits until no child has changed for a while, and returns their versions.
fn until_settled(world: &World, name: &str) -> Vec<String> {
    let mut last = (Vec::new(), std::time::Instant::now());
    world.until(&format!("{name} is settled"), || {
        let mut now = versions(world, name);
        now.push(world.get(PRESENT, name, "")["status"].to_string());
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        last.1.elapsed() > SETTLED
    });
    last.0.pop();
    last.0
}

/// Fails unless each child has what the webhook adds, and the operator manages its fields with one entry.
fn each_child_has_the_changes(world: &World, name: &str) {
    for ((resource, objects), (_, _, count)) in children(world, name).into_iter().zip(CHILDREN) {
        assert_eq!(objects.len(), count, "{resource}");
        for object in objects {
            let metadata = &object["metadata"];
            assert_eq!(
                metadata["annotations"][ANNOTATION], "yes",
                "{resource} {metadata}"
            );
            let entries = metadata["managedFields"].as_array().unwrap();
            let ours = entries
                .iter()
                .filter(|entry| entry["manager"] == "behalf-operator" && entry["subresource"].is_null());
            assert_eq!(ours.count(), 1, "{resource} {metadata:#}");
            for list in LISTS {
                let containers = object.pointer(list).and_then(Value::as_array);
                for container in containers.into_iter().flatten() {
                    for (resource, quantity) in RAISED {
                        assert_eq!(
                            container["resources"]["requests"][resource], quantity,
                            "{container}"
                        );
                    }
                }
            }
        }
    }
}

/// Annotates the `ReplicaSets`. The operator never writes these, and reconciles their objects when they change.
fn trigger(world: &World, round: usize) {
    let annotation = format!("test.example/round={round}");
    let annotate = [
        "--namespace",
        NAMESPACE,
        "annotate",
        "--overwrite",
        "replicasets",
        "--all",
    ];
    world.kubectl(&[&annotate[..], &[&annotation]].concat());
}

/// Number of reconciles in the operator's log.
fn count(world: &World, name: &str) -> usize {
    world
        .log()
        .matches(&format!("Read what {NAMESPACE}/{name} depends on"))
        .count()
}
