//! Searches all logs, objects, events, spans, internal documents of the sidecars, metrics of the servers and of the operators,
//! output of the administration commands and answers to clients for secrets: values that the simulators issued or received,
//! values that clients received, and the keys of the keyrings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use behalf_contract::ports;
use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_demo::mcp_client::Era;
use behalf_demo::{document_at, internal_document};
use behalf_local_cluster::cluster::Kind;
use behalf_simulators::collector::{Collector, ReceivedSpan};
use behalf_simulators::entra::SecretKind;
use behalf_simulators::people::{ANA, BEN};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::administration;
use crate::answers;
use crate::credentials::pods_of;
use crate::ensure;
use crate::logs::{self, NAMESPACES, PLANTED, is_traced};
use crate::search::{Place, SHORTEST, Search, Value};
use crate::sign_in::calls;
use crate::traces;
use crate::world::{TestResult, World};

/// Maximum time until every log can be read.
const READABLE: Duration = Duration::from_mins(1);

crate::tests![WholeCluster: [no_secret_value_is_in_any_log_object_event_or_answer]];

async fn no_secret_value_is_in_any_log_object_event_or_answer(world: &World) -> TestResult {
    use_everything(world).await?;
    let administration = administration::outputs(world).await?;
    let planted = [plant(world)?];
    let spans = match world.collector() {
        Ok(collector) => Some(spans(world, collector).await?),
        Err(error) => {
            // The Pods of a local cluster always reach a collector on this machine.
            ensure!(world.running.cluster.kind() != Kind::Local, "{error}");
            println!("    no span is searched: {error}");
            None
        }
    };

    let logs = all_logs(world).await?;
    let mut others = objects(world)?;
    others.extend(of_sidecars(world).await?);
    others.extend(metrics_of_others(world).await?);
    others.extend(administration);
    others.extend(spans);
    let answers = answers(world)?;

    let (foreign, own, cookies) = (
        never_for_clients(world).await?,
        of_clients(world)?,
        cookies(&answers)?,
    );
    let given = given(&answers, &own)?;
    let places = || logs.iter().chain(&others);
    let mut found = Search::of(&foreign)?.found_in(places().chain(&answers));
    let unrecorded = values_of_clients(world.unrecorded());
    let of_clients = own.iter().chain(&unrecorded).chain(&cookies).chain(given.keys());
    found.extend(Search::of(of_clients)?.found_in(places()));
    ensure!(found.is_empty(), "leaked: {}", found.join("; "));
    let panicked: Vec<_> = logs
        .iter()
        .filter(|place| place.text.contains("panicked at"))
        .map(|place| place.name.as_str())
        .collect();
    ensure!(panicked.is_empty(), "panics: {}", panicked.join("; "));

    // The search must be able to find values: it finds the planted one in the logs, and in the answers each token
    // exactly once, where the client received it.
    let hits = Search::of(&planted)?.found_in(&logs);
    world.kubectl(&["delete", "pod", PLANTED, "--wait=false"])?;
    ensure!(!hits.is_empty(), "the planted value was not found in any log");
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
    for (value, times) in &given {
        let is_once = *times == 1 || !GIVEN_ONCE.contains(&value.kind.as_str());
        ensure!(
            is_once,
            "a {} is in the answers {times} times, not once",
            value.kind
        );
    }
    Ok(())
}

/// Sealed values that a client's program needs. Each is in exactly one answer.
const GIVEN_ONCE: [&str; 3] = ["code", "access token", "refresh token"];

/// Returns each sealed value in the answers to any client, and the number of its occurrences.
fn given(places: &[Place], known: &[Value]) -> TestResult<BTreeMap<Value, usize>> {
    let mut given = BTreeMap::new();
    for (kind, text) in places.iter().flat_map(|place| answers::sealed(&place.text)) {
        *given.entry(Value::new(kind, text)).or_insert(0) += 1;
    }
    for kind in GIVEN_ONCE {
        ensure!(
            given.keys().any(|value| value.kind == kind),
            "the answers hold no {kind}"
        );
    }
    let texts: BTreeSet<_> = given.keys().map(|value| &value.text).collect();
    for value in known {
        ensure!(
            texts.contains(&value.text),
            "a {} is missing in what the answers hold",
            value.kind
        );
    }
    Ok(given)
}

/// Objects and events, as a user with read access to the namespace sees them. Secrets are left out: keys belong there.
fn objects(world: &World) -> TestResult<Vec<Place>> {
    const OBJECTS: &str = "events,pods,deployments,replicasets,configmaps,services,serviceaccounts,\
                           networkpolicies,poddisruptionbudgets,mcpservers";
    let mut places = Vec::new();
    for namespace in NAMESPACES {
        for (verb, kinds) in [("get", OBJECTS), ("describe", "mcpservers,pods")] {
            let mut arguments = vec!["--namespace", namespace, verb, kinds];
            if verb == "get" {
                arguments.extend(["--output", "yaml"]);
            }
            places.push(Place {
                name: format!("kubectl {verb} {kinds} in {namespace}"),
                text: world.running.cluster.kubectl(&arguments)?,
            });
        }
    }
    Ok(places)
}

/// The documents of each sidecar's internal port.
async fn of_sidecars(world: &World) -> TestResult<Vec<Place>> {
    let mut places = Vec::new();
    for server in Server::ALL {
        let pods = pods_of(world, server).await?;
        ensure!(!pods.is_empty(), "{} has no Pod", server.name());
        for pod in pods {
            let pod = pod.metadata.name.unwrap_or_default();
            for path in ["/status", "/metrics"] {
                let text = internal_document(&world.running.client, &pod, path).await?;
                ensure!(!text.trim().is_empty(), "{pod} answers nothing at {path}");
                places.push(Place {
                    name: format!("{path} of {pod}"),
                    text,
                });
            }
        }
    }
    Ok(places)
}

/// The metrics of each server and of each operator. They must have counted something.
async fn metrics_of_others(world: &World) -> TestResult<Vec<Place>> {
    let client = &world.running.client;
    let mut read = Vec::new();
    for server in Server::ALL {
        for pod in pods_of(world, server).await? {
            read.push((NAMESPACE_SERVERS, pod, ports::SERVER_PROBES));
        }
    }
    let operators: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE_OPERATOR);
    let selector = ListParams::default()
        .labels("app.kubernetes.io/name=behalf-operator")
        .fields("status.phase=Running");
    let found = operators.list(&selector).await?.into_iter();
    let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    read.extend(
        found
            .filter(stays)
            .map(|pod| (NAMESPACE_OPERATOR, pod, METRICS_OF_OPERATOR)),
    );
    let mut places = Vec::new();
    for (namespace, pod, port) in read {
        let (pods, pod) = (
            Api::namespaced(client.clone(), namespace),
            pod.metadata.name.unwrap_or_default(),
        );
        let text = document_at(&pods, &pod, port, "/metrics").await?;
        places.push(Place {
            name: format!("/metrics of {namespace}/{pod}"),
            text,
        });
    }
    for metric in [
        "behalf_azure_devops_request_seconds_count",
        "behalf_entra_request_seconds_count{grant=\"on_behalf_of\"",
        "behalf_operator_reconciles_total",
    ] {
        ensure!(
            places.iter().any(|place| place.text.contains(metric)),
            "no server and no operator has {metric}"
        );
    }
    Ok(places)
}

/// The port of the operator's metrics in the chart.
const METRICS_OF_OPERATOR: u16 = 8081;

/// The answers to clients on all connections since the cluster started.
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

/// Values that no client may receive: values of Entra and Azure DevOps, and the keys of the keyrings. Fails if a kind of
/// value is missing.
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
    values.extend(keys(world).await?);
    values.push(Value::new("password of Redis", password_of_redis(world).await?));
    values.retain(|value| value.text.len() >= SHORTEST);
    Ok(values)
}

/// The keys of all keyrings, also of those that tests deleted.
async fn keys(world: &World) -> TestResult<Vec<Value>> {
    let secrets: Api<Secret> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let now = secrets.list(&ListParams::default()).await?;
    let now: Vec<_> = now.iter().flat_map(logs::keys).collect();
    ensure!(!now.is_empty(), "no keyring holds a key");
    let mut all = world.recording.keys();
    ensure!(
        now.iter().any(|key| all.contains(key)),
        "no key of now is among those that were recorded"
    );
    all.extend(now);
    let values = all.into_iter();
    Ok(values.map(|key| Value::new("key of a keyring", key)).collect())
}

/// The password of the user of the server article.
pub(crate) async fn password_of_redis(world: &World) -> TestResult<String> {
    let secrets: Api<Secret> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let secret = secrets.get("article-behalf-store").await?;
    let password = secret.data.as_ref().and_then(|data| data.get("password"));
    let password = password.ok_or("the Secret of Redis has no password")?;
    Ok(String::from_utf8(password.0.clone())?)
}

/// Values that clients received and that may be nowhere else.
fn of_clients(world: &World) -> TestResult<Vec<Value>> {
    let clients = world.client_values();
    for kind in GIVEN_ONCE {
        ensure!(
            clients.iter().any(|(known, _)| *known == kind),
            "no client got a {kind}"
        );
    }
    Ok(values_of_clients(clients))
}

/// Each value once, as the search names it.
fn values_of_clients(values: Vec<(&'static str, String)>) -> Vec<Value> {
    let values: BTreeSet<_> = values.into_iter().collect();
    values
        .into_iter()
        .map(|(kind, value)| Value::new(format!("{kind} of a client"), value))
        .collect()
}

/// [`logs`] as soon as every one can be read: the test before this one may have restarted the API server or replaced Pods.
async fn all_logs(world: &World) -> TestResult<Vec<Place>> {
    let end = Instant::now() + READABLE;
    loop {
        match logs(world).await {
            Err(error) if Instant::now() < end => println!("    not every log can be read yet: {error}"),
            logs => return logs,
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// The logs of all containers of all Pods, whole, and what was recorded of those that are gone or were started
/// again. Each of the product's must hold a line at trace level.
async fn logs(world: &World) -> TestResult<Vec<Place>> {
    let mut places = Vec::new();
    for namespace in NAMESPACES {
        let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), namespace);
        for pod in pods.list(&ListParams::default()).await? {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let Some(spec) = pod.spec else { continue };
            let ephemeral = spec.ephemeral_containers.into_iter().flatten();
            let ephemeral = ephemeral.map(|container| (container.name, false));
            let own = spec.init_containers.into_iter().flatten().chain(spec.containers);
            let own = own.map(|container| {
                let image = container.image.unwrap_or_default();
                (container.name, is_traced(namespace, &name, &image))
            });
            for (container, must_trace) in own.chain(ephemeral) {
                let place = format!("log of {namespace}/{name}/{container}");
                let parameters = LogParams {
                    container: Some(container),
                    ..LogParams::default()
                };
                let text = pods.logs(&name, &parameters).await?;
                ensure!(
                    !must_trace || text.contains("TRACE"),
                    "{place} holds no line at trace level: the search would prove nothing"
                );
                places.push(Place { name: place, text });
            }
        }
    }
    for namespace in NAMESPACES {
        let here = format!("log of {namespace}/");
        ensure!(
            places.iter().any(|place| place.name.starts_with(&here)),
            "no Pod of {namespace} has a log"
        );
    }
    ensure!(places.len() >= 7, "only {} logs were found", places.len());
    let recorded = world.recording.logs()?;
    // The log of the planted Pod may not be recorded yet.
    ensure!(
        recorded.len() + 1 >= places.len(),
        "only {} logs were recorded, and there are {}",
        recorded.len(),
        places.len()
    );
    places.extend(recorded);
    Ok(places)
}

/// The spans of both servers since the suite began, as the collector received them. Fails unless a search finds a value in them
/// that the last call planted.
async fn spans(world: &World, collector: &Collector) -> TestResult<Place> {
    // The sidecar records the name of a tool as the client sent it.
    let planted = [Value::new(
        "planted tool",
        "eyJhbGciOiJub25lIn0.planted-in-a-span",
    )];
    let [tool] = &planted;
    let connection = world.connect(Server::Quickstart, &ANA, Era::Modern).await?;
    let called = connection.call(&tool.text, json!({})).await;
    connection.close().await;
    ensure!(called.is_err(), "the server has a tool {}", tool.text);
    let has_planted = |spans: &[ReceivedSpan]| {
        spans
            .iter()
            .any(|span| span.attributes.values().any(|value| *value == tool.text))
    };
    let received = timeout(traces::LIMIT, collector.until(has_planted)).await;
    let number = received
        .map_err(|_| "the collector got no span with the planted tool")?
        .len();
    let text = String::from_utf8_lossy(&collector.bytes()).into_owned();
    let place = Place {
        name: format!("{number} spans"),
        text,
    };
    ensure!(
        !Search::of(&planted)?.found_in([&place]).is_empty(),
        "the planted tool was not found in {}",
        place.name
    );
    println!("    {} are searched", place.name);
    Ok(place)
}

/// A Pod whose only purpose is to log a value that looks like a token.
fn plant(world: &World) -> TestResult<Value> {
    let value = "eyJhbGciOiJub25lIn0.planted-on-purpose.so-that-the-search-must-find-it";
    let image = world.debug_image()?;
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": PLANTED},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "planted", "image": image, "command": ["sh", "-c", format!("echo {value}")],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    world.kubectl(&["delete", "pod", PLANTED, "--ignore-not-found"])?;
    world.apply(&manifest)?;
    world.kubectl(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/planted",
        "--timeout=60s",
    ])?;
    Ok(Value::new("planted value", value))
}
