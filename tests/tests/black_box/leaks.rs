//! Every value that the simulators issued or received, and everything clients got, is searched for in all
//! logs, in objects and in events.

use behalf_tests::client::Era;
use behalf_tests::entra::SecretKind;
use behalf_tests::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_tests::people::{ANA, BEN};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::json;

use crate::ensure;
use crate::sign_in::calls;
use crate::world::{TestResult, World};

crate::tests![no_secret_value_is_in_any_log_object_or_event];

/// A place where a secret must not be.
struct Place {
    name: String,
    text: String,
}

async fn no_secret_value_is_in_any_log_object_or_event(world: &World) -> TestResult {
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

    let values = values(world).await?;
    let mut found = Vec::new();
    for place in &places {
        for (kind, value) in &values {
            if place.text.contains(value.as_str()) {
                found.push(format!("{kind} in {}", place.name));
            }
        }
    }
    ensure!(found.is_empty(), "leaked: {}", found.join("; "));

    // A search that finds nothing proves something only if it would have found something.
    let hits = places
        .iter()
        .filter(|place| place.text.contains(&planted))
        .count();
    world.kubectl(&["delete", "pod", "planted", "--wait=false"])?;
    ensure!(hits > 0, "the planted value was not found in any log");
    Ok(())
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

/// Every value, with what it is. A kind that is missing fails the search.
async fn values(world: &World) -> TestResult<Vec<(String, String)>> {
    let issued = world.entra.secrets().await?;
    for kind in SecretKind::EXPECTED {
        ensure!(
            issued.iter().any(|secret| secret.kind == kind),
            "Entra's record holds no {kind:?}"
        );
    }
    let mut values: Vec<_> = issued
        .into_iter()
        .map(|secret| (format!("{:?} of Entra", secret.kind), secret.value))
        .collect();
    let downstream = world.azure_devops.tokens().await?;
    ensure!(!downstream.is_empty(), "Azure DevOps received no token");
    values.extend(
        downstream
            .into_iter()
            .map(|token| ("token at Azure DevOps".to_owned(), token)),
    );
    let clients = world.client_values();
    for kind in ["code", "access token", "refresh token"] {
        ensure!(
            clients.iter().any(|(known, _)| *known == kind),
            "no client got a {kind}"
        );
    }
    values.extend(
        clients
            .into_iter()
            .map(|(kind, value)| (format!("{kind} of a client"), value)),
    );
    // Short values would be found by chance.
    values.retain(|(_, value)| value.len() >= 16);
    Ok(values)
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
