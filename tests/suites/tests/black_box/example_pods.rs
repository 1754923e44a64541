//! Pods of the examples that no other test runs: each object has the spec of its file, but for addresses, Entra and the image.

use std::time::Instant;

use behalf_demo::environment::{Objects, Server};
use behalf_demo::forward::Forward;
use behalf_demo::mcp_client::{Connection, Era};
use behalf_local_cluster::{Progress, files};
use behalf_simulators::people::{ANA, CLIENT_ID};
use behalf_tests::foreign_server::ForeignServer::Everything;
use behalf_tests::limits::restoring;
use behalf_tests::published_crds;
use serde_json::{Value, json};

use crate::cluster_wide::certificate_authority;
use crate::ensure;
use crate::foreign_servers::SCOPE;
use crate::own_release::OwnRelease;
use crate::rights::gateway_status;
use crate::scratch_server::{PORT, forget_credentials, forwarding, mcp_url, sign_in};
use crate::traces::LIMIT;
use crate::world::{TestResult, World};

crate::tests![Scratch: [the_pods_of_each_example_do_what_its_file_says]];

const NAMESPACE: &str = "example-pods";

const ROUTE: &str = "httproutes.gateway.networking.k8s.io";

/// The object of a file of `examples`, as it is there and as it is applied.
struct Example {
    name: String,
    file: Value,
    applied: Value,
}

impl Example {
    fn read(world: &World, file: &str) -> TestResult<Self> {
        let path = files::checkout().join("examples").join(file);
        let mut objects = Objects::from_yaml(&std::fs::read_to_string(path)?)?;
        let file = objects.iter_mut().next().ok_or("the file is empty")?.clone();
        let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
        let mut applied = file.clone();
        let spec = &mut applied["spec"];
        spec["entra"] = quickstart["spec"]["entra"].clone();
        if spec["server"]["azureDevOps"].is_object() {
            let endpoints = &quickstart["spec"]["server"]["azureDevOps"]["endpoints"];
            spec["server"]["azureDevOps"]["endpoints"] = endpoints.clone();
        }
        Ok(Self {
            name: file["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            file,
            applied,
        })
    }

    /// A field of the file's spec.
    fn field(&self, pointer: &str) -> TestResult<&Value> {
        let found = self.file["spec"].pointer(pointer);
        Ok(found.ok_or_else(|| format!("{} has no spec{pointer}", self.name))?)
    }
}

/// The examples under test.
struct Examples {
    gateway_route: Example,
    behind_a_gateway: Example,
    read_only: Example,
    monitoring: Example,
    traces: Example,
    container: Example,
}

impl Examples {
    fn read(world: &World) -> TestResult<Self> {
        let mut examples = Self {
            gateway_route: Example::read(world, "gateway-route.yaml")?,
            behind_a_gateway: Example::read(world, "behind-a-gateway.yaml")?,
            read_only: Example::read(world, "read-only.yaml")?,
            monitoring: Example::read(world, "monitoring.yaml")?,
            traces: Example::read(world, "traces.yaml")?,
            container: Example::read(world, "container.yaml")?,
        };
        let url = mcp_url()?.origin().ascii_serialization();
        examples.read_only.applied["spec"]["publicUrl"] = json!(url);
        let collector = world.collector()?.endpoint();
        let collector = collector.as_str().trim_end_matches('/');
        examples.traces.applied["spec"]["tracing"]["endpoint"] = json!(collector);
        let image = world.load(&Everything.image(&Progress::default())?)?;
        let container = &mut examples.container.applied["spec"];
        container["server"]["container"]["image"] = json!(image);
        container["tokenExchange"]["scope"] = json!(SCOPE);
        Ok(examples)
    }

    fn all(&self) -> [&Example; 6] {
        let Self {
            gateway_route,
            behind_a_gateway,
            read_only,
            monitoring,
            traces,
            container,
        } = self;
        [
            gateway_route,
            behind_a_gateway,
            read_only,
            monitoring,
            traces,
            container,
        ]
    }
}

async fn the_pods_of_each_example_do_what_its_file_says(world: &World) -> TestResult {
    let crd = published_crds::http_route_crd()?.display().to_string();
    let _gateway_api = world.gateway_api.lock().await;
    let work = async {
        let began = Instant::now();
        world
            .running
            .cluster
            .kubectl(&["apply", "--server-side", "--filename", &crd])?;
        let release = OwnRelease::install(world, NAMESPACE, &json!({})).await?;
        let examples = Examples::read(world)?;
        release.apply([certificate_authority(world, NAMESPACE)?]).await?;
        release
            .apply(examples.all().map(|example| example.applied.clone()))
            .await?;
        for example in examples.all() {
            release.create_credential(&world.entra, &example.name).await?;
        }
        accept_the_route(world, &release, &examples.gateway_route).await?;
        for example in examples.all() {
            let ready = release
                .wait(&example.name, "Ready", |now| now.is("Ready", "True"))
                .await?;
            ensure!(
                ready.is("Verified", "True") && ready.is("FederationVerified", "True"),
                "Ready, but {}",
                ready.summary()
            );
        }
        trusts_the_networks(world, &examples.behind_a_gateway)?;
        serves_its_metrics(world, &examples.monitoring)?;
        runs_with_its_arguments(world, &examples.container)?;
        let sends = sends_traces(world);
        forwarding(world, to(&examples.traces), sends).await?;
        let reads = reads_only(world);
        forwarding(world, to(&examples.read_only), reads).await?;
        println!("    six examples in {} s", began.elapsed().as_secs());
        Ok(())
    };
    let restore = async {
        let delete = ["delete", "--filename", &crd, "--ignore-not-found", "--wait=true"];
        let deleted = world.running.cluster.kubectl(&delete);
        let subjects = format!("system:serviceaccount:{NAMESPACE}:");
        forget_credentials(world, &subjects, &[PORT]).await?;
        // Those of the files' own addresses.
        let addresses = |uri: &String| uri.contains(".contoso.example/");
        world
            .entra
            .update_application(CLIENT_ID, |application| {
                application.redirect_uris.retain(|uri| !addresses(uri));
            })
            .await?;
        deleted?;
        Ok(())
    };
    restoring(work, restore).await
}

/// Where the loopback port leads.
fn to(example: &Example) -> Forward {
    Forward {
        local: PORT,
        namespace: NAMESPACE.to_owned(),
        service: example.name.clone(),
        port: 8080,
    }
}

fn kubectl(world: &World, arguments: &[&str]) -> TestResult<String> {
    let namespaced = ["--namespace", NAMESPACE];
    Ok(world
        .running
        .cluster
        .kubectl(&[&namespaced[..], arguments].concat())?)
}

fn get(world: &World, kind: &str, name: &str) -> TestResult<Value> {
    let text = kubectl(world, &["get", kind, name, "--output=json"])?;
    Ok(serde_json::from_str(&text)?)
}

/// The route leads from the Gateway of the file, and is ready when the Gateway's controller accepts it.
async fn accept_the_route(world: &World, release: &OwnRelease<'_>, example: &Example) -> TestResult {
    let name = &example.name;
    let reason = |wanted: &'static str| {
        move |now: &behalf_demo::environment::Conditions| {
            now.get("RouteReady").is_some_and(|found| found.reason == wanted)
        }
    };
    release.wait(name, "RoutePending", reason("RoutePending")).await?;
    let route = get(world, ROUTE, name)?;
    let parent = example.field("/route/gateway/parentRefs/0")?;
    for (key, value) in parent.as_object().into_iter().flatten() {
        ensure!(
            route["spec"]["parentRefs"][0][key] == *value,
            "the route has other parents: {}",
            route["spec"]
        );
    }
    let host = example.field("/publicUrl")?.as_str().unwrap_or_default();
    ensure!(
        route["spec"]["hostnames"] == json!([host.trim_start_matches("https://")]),
        "the route has other hosts: {}",
        route["spec"]
    );
    let status = gateway_status(&route, parent, "True", "Accepted").to_string();
    let patch = [
        "patch",
        ROUTE,
        name,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &status,
    ];
    kubectl(world, &patch)?;
    release
        .wait(name, "RouteAccepted", reason("RouteAccepted"))
        .await?;
    Ok(())
}

/// The sidecar has the networks of the file.
fn trusts_the_networks(world: &World, example: &Example) -> TestResult {
    let selector = format!("behalf.dev/mcp-server={}", example.name);
    let configuration = kubectl(
        world,
        &["get", "configmap", "--selector", &selector, "--output=json"],
    )?;
    let network = example.field("/trustedProxies/0")?.as_str().unwrap_or_default();
    ensure!(
        !network.is_empty() && configuration.contains(network),
        "the Pods do not trust {network}: {configuration}"
    );
    Ok(())
}

/// The sidecar answers on port 9090, and the network policy opens it to the Pods that the file names.
fn serves_its_metrics(world: &World, example: &Example) -> TestResult {
    let name = &example.name;
    let selector = format!("app.kubernetes.io/instance={name}");
    let pod = [
        "get",
        "pods",
        "--selector",
        &selector,
        "--output=jsonpath={.items[0].metadata.name}",
    ];
    let pod = kubectl(world, &pod)?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9090/proxy/metrics");
    let metrics = kubectl(world, &["get", "--raw", &path])?;
    ensure!(
        metrics.contains("behalf_federation_probes_total"),
        "port 9090 answers {metrics:.300}"
    );
    let policy = get(world, "networkpolicy", name)?;
    let peer = example.field("/network/metricsFrom/0")?;
    let rules = policy["spec"]["ingress"].as_array();
    let opens = rules.into_iter().flatten().any(|rule| {
        let has = |list: &str, wanted: &dyn Fn(&Value) -> bool| {
            rule[list].as_array().is_some_and(|all| all.iter().any(wanted))
        };
        has("from", &|from| from == peer) && has("ports", &|port| port["port"] == 9090)
    });
    ensure!(
        opens,
        "the policy does not open port 9090 to {peer}: {}",
        policy["spec"]
    );
    Ok(())
}

/// The container has the arguments of the file.
fn runs_with_its_arguments(world: &World, example: &Example) -> TestResult {
    let deployment = get(world, "deployment", &example.name)?;
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    let arguments = example.field("/server/container/args")?;
    ensure!(
        containers
            .into_iter()
            .flatten()
            .any(|container| container["args"] == *arguments),
        "no container has {arguments}"
    );
    Ok(())
}

/// A span of the sidecar arrives at the collector. A request without a token has one, too.
async fn sends_traces(world: &World) -> TestResult {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = reqwest::Client::builder()
        .build()?
        .post(mcp_url()?)
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}))
        .send()
        .await?;
    ensure!(
        answer.status() == 401,
        "the request was answered {}",
        answer.status()
    );
    let spans = tokio::time::timeout(LIMIT, world.collector()?.trace(trace)).await;
    let spans = spans.map_err(|_| "the collector got no span of the request")?;
    ensure!(
        spans
            .iter()
            .any(|span| span.trace_id == trace && span.service == "behalf-auth-sidecar"),
        "the span is of another program"
    );
    Ok(())
}

/// The server has no tool that writes and none of another toolset, and refuses projects that the file does not list.
async fn reads_only(world: &World) -> TestResult {
    let connection = sign_in(world, &ANA).await?.connect(Era::Modern).await?;
    let outcome = has_read_only_tools(&connection).await;
    connection.close().await;
    outcome
}

async fn has_read_only_tools(connection: &Connection) -> TestResult {
    let tools = connection.tools().await?;
    let mut names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    names.sort_unstable();
    ensure!(
        names == ["get_run_failure_logs", "list_pipeline_runs"],
        "the server lists {names:?}"
    );
    for (project, refusal) in [("shop", None), ("payroll", Some("may not use the project"))] {
        let result = connection
            .call("list_pipeline_runs", json!({"project": project}))
            .await?;
        let text = behalf_demo::text(&result);
        ensure!(
            result.is_error == Some(true) && refusal.is_some_and(|refusal| text.contains(refusal))
                || result.is_error != Some(true) && refusal.is_none(),
            "{project}: {text}"
        );
    }
    Ok(())
}
