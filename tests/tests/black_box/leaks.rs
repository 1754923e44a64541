//! Every value that the simulators issued or received, everything clients got and every key is searched for
//! in all logs, in objects, in events, and in what clients got back.

use std::collections::BTreeSet;

use behalf_tests::client::Era;
use behalf_tests::entra::SecretKind;
use behalf_tests::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_tests::people::{ANA, BEN};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::json;

use crate::answers;
use crate::ensure;
use crate::sign_in::calls;
use crate::world::{TestResult, World};

crate::tests![no_secret_value_is_in_any_log_object_event_or_answer];

/// Shorter values would be found by chance.
const SHORTEST: usize = 16;

/// A place where a secret must not be.
struct Place {
    name: String,
    text: String,
}

/// A secret value, and what it is.
struct Value {
    kind: String,
    text: String,
}

impl Value {
    fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        let (kind, text) = (kind.into(), text.into());
        Self { kind, text }
    }
}

async fn no_secret_value_is_in_any_log_object_event_or_answer(world: &World) -> TestResult {
    use_everything(world).await?;
    let planted = plant(world)?;

    let mut places = logs(world).await?;
    for kind in ["mcpservers", "configmaps", "events", "pods", "deployments"] {
        let text = world.kubectl(&["get", kind, "--output", "yaml"])?;
        places.push(Place {
            name: format!("kubectl get {kind}"),
            text,
        });
    }
    places.push(Place {
        name: "kubectl describe mcpservers".to_owned(),
        text: world.kubectl(&["describe", "mcpservers"])?,
    });
    let answers = answers(world)?;

    let (foreign, own) = (never_for_clients(world).await?, of_clients(world)?);
    let mut found = Vec::new();
    for value in &foreign {
        for place in places.iter().chain(&answers) {
            if place.text.contains(&value.text) {
                found.push(format!("{} in {}", value.kind, place.name));
            }
        }
    }
    for value in own.iter().chain(&cookies(&answers)?) {
        for place in &places {
            if place.text.contains(&value.text) {
                found.push(format!("{} in {}", value.kind, place.name));
            }
        }
    }
    ensure!(found.is_empty(), "leaked: {}", found.join("; "));

    // A search that finds nothing proves something only if it would have found something: in the logs what
    // was put there, in the answers what clients were given, once and never again.
    let hits = places
        .iter()
        .filter(|place| place.text.contains(&planted))
        .count();
    world.kubectl(&["delete", "pod", "planted", "--wait=false"])?;
    ensure!(hits > 0, "the planted value was not found in any log");
    for value in &own {
        let times: usize = answers
            .iter()
            .map(|place| place.text.matches(&value.text).count())
            .sum();
        ensure!(
            times == 1,
            "a {} is in the answers {times} times, not once",
            value.kind
        );
    }
    Ok(())
}

/// What clients got back, all connections since the cluster came up.
fn answers(world: &World) -> TestResult<Vec<Place>> {
    let mut places = Vec::new();
    for server in Server::ALL {
        for (number, bytes) in world.answers(server)?.iter().enumerate() {
            places.push(Place {
                name: format!("connection {number} with {}", server.name()),
                text: answers::text(bytes)?,
            });
        }
    }
    Ok(places)
}

/// The cookies that browsers were given.
fn cookies(places: &[Place]) -> TestResult<Vec<Value>> {
    let all = places.iter().flat_map(|place| answers::cookies(&place.text));
    let values: Vec<_> = all
        .filter(|value| value.len() >= SHORTEST)
        .map(|value| Value::new("cookie", value))
        .collect();
    ensure!(!values.is_empty(), "no browser got a cookie");
    Ok(values)
}

/// A login with exchange, refresh and calls at both servers, so that every kind of value exists.
async fn use_everything(world: &World) -> TestResult {
    for server in Server::ALL {
        for (person, era) in [(ANA, Era::Legacy), (BEN, Era::Modern)] {
            let signed_in = world.sign_in(server, &person).await?;
            signed_in.manager().lock().await.refresh_token().await?;
            world.remember_tokens(&signed_in).await?;
            let connection = signed_in.connect(era).await?;
            for (tool, arguments) in calls() {
                connection.call(tool, arguments).await?;
            }
            connection.close().await;
        }
    }
    // Short tokens make the sidecar refresh at Entra.
    world
        .entra
        .update_settings(|settings| settings.application_token_seconds = Some(60))
        .await?;
    let signed_in = world.sign_in(Server::Quickstart, &ANA).await?;
    let connection = signed_in.connect(Era::Modern).await?;
    connection
        .call("list_pipeline_runs", json!({"project": "shop"}))
        .await?;
    connection.close().await;
    world
        .entra
        .update_settings(|settings| settings.application_token_seconds = None)
        .await?;
    Ok(())
}

/// What no client may ever get: values of Entra and Azure DevOps, and the keys of the keyrings. A kind that is
/// missing fails the search.
async fn never_for_clients(world: &World) -> TestResult<Vec<Value>> {
    let issued = world.entra.secrets().await?;
    for kind in SecretKind::EXPECTED {
        ensure!(
            issued.iter().any(|secret| secret.kind == kind),
            "Entra's record holds no {kind:?}"
        );
    }
    let mut values: Vec<_> = issued
        .into_iter()
        .map(|secret| Value::new(format!("{:?} of Entra", secret.kind), secret.value))
        .collect();
    let downstream = world.azure_devops.tokens().await?;
    ensure!(!downstream.is_empty(), "Azure DevOps received no token");
    let downstream = downstream.into_iter();
    values.extend(downstream.map(|token| Value::new("token at Azure DevOps", token)));
    let before = values.len();
    values.extend(keys(world).await?);
    ensure!(values.len() > before, "no keyring holds a key");
    values.retain(|value| value.text.len() >= SHORTEST);
    Ok(values)
}

/// The keys of every keyring, as the Secret spells them.
async fn keys(world: &World) -> TestResult<Vec<Value>> {
    let secrets: Api<Secret> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let mut values = Vec::new();
    for secret in secrets.list(&ListParams::default()).await? {
        for (_, data) in secret.data.unwrap_or_default() {
            let keyring: serde_json::Value = serde_json::from_slice(&data.0)?;
            for set in ["sessions", "clients"] {
                let keys = keyring[set]["keys"].as_array().into_iter().flatten();
                let material = keys.filter_map(|key| key["material"].as_str());
                values.extend(material.map(|key| Value::new("key of a keyring", key)));
            }
        }
    }
    Ok(values)
}

/// What clients were given, and nobody else may have.
fn of_clients(world: &World) -> TestResult<Vec<Value>> {
    let clients: BTreeSet<_> = world.client_values().into_iter().collect();
    for kind in ["code", "access token", "refresh token"] {
        ensure!(
            clients.iter().any(|(known, _)| *known == kind),
            "no client got a {kind}"
        );
    }
    let values = clients.into_iter();
    Ok(values
        .map(|(kind, value)| Value::new(format!("{kind} of a client"), value))
        .collect())
}

/// The logs of all containers of all our Pods; each must hold a line at trace level.
async fn logs(world: &World) -> TestResult<Vec<Place>> {
    let mut places = Vec::new();
    for namespace in [NAMESPACE_SERVERS, NAMESPACE_OPERATOR] {
        let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), namespace);
        for pod in pods.list(&ListParams::default()).await? {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let Some(spec) = pod.spec else { continue };
            for container in spec.init_containers.into_iter().flatten().chain(spec.containers) {
                let parameters = LogParams {
                    container: Some(container.name.clone()),
                    ..LogParams::default()
                };
                let text = pods.logs(&name, &parameters).await?;
                let place = format!("log of {namespace}/{name}/{}", container.name);
                let traced = name == "planted" || text.contains("TRACE");
                ensure!(
                    traced,
                    "{place} holds no line at trace level: the search would prove nothing"
                );
                places.push(Place { name: place, text });
            }
        }
    }
    ensure!(places.len() >= 5, "only {} logs were found", places.len());
    Ok(places)
}

/// A Pod whose only purpose is to log a value that looks like a token.
fn plant(world: &World) -> TestResult<String> {
    let value = "eyJhbGciOiJub25lIn0.planted-on-purpose.so-that-the-search-must-find-it";
    let image = world.debug_image()?;
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "planted"},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "planted", "image": image, "command": ["sh", "-c", format!("echo {value}")],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    world.kubectl(&["delete", "pod", "planted", "--ignore-not-found"])?;
    world.apply(&manifest)?;
    world.kubectl(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/planted",
        "--timeout=60s",
    ])?;
    Ok(value.to_owned())
}
