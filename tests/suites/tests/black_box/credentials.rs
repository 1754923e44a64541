//! No secret anywhere: what the simulators saw, what the namespace holds, what a container can read.

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_simulators::people::ANA;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::ensure;
use crate::inside::Inside;
use crate::world::{TestResult, World};

crate::tests![
    the_simulators_saw_no_client_secret_and_never_resource,
    no_secret_of_the_namespace_holds_a_credential,
    only_the_containers_that_exchange_hold_a_federated_token,
    a_read_from_inside_finds_a_federated_token_only_where_the_exchange_is,
    no_pod_has_a_kubernetes_credential,
];

async fn the_simulators_saw_no_client_secret_and_never_resource(world: &World) -> TestResult {
    world.sign_in(Server::Quickstart, &ANA).await?;
    let requests = world.entra.requests().await?;
    let tokens: Vec<_> = requests
        .iter()
        .filter(|request| request.kind.is_token())
        .collect();
    ensure!(!tokens.is_empty(), "the record holds no token request");
    for request in &tokens {
        ensure!(
            !request.has("client_secret"),
            "request {} carried a client_secret",
            request.number
        );
        ensure!(
            request.authorization_scheme.is_none(),
            "request {} carried Authorization",
            request.number
        );
        ensure!(
            request.has("client_assertion"),
            "request {} carried no assertion",
            request.number
        );
    }
    ensure!(
        requests.iter().all(|request| !request.has("resource")),
        "resource reached Entra"
    );
    Ok(())
}

async fn no_secret_of_the_namespace_holds_a_credential(world: &World) -> TestResult {
    let secrets: Api<Secret> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let issued = world.entra.secrets().await?;
    ensure!(!issued.is_empty(), "the simulator issued nothing to look for");
    let all = secrets.list(&ListParams::default()).await?.items;
    ensure!(
        !all.is_empty(),
        "there is no Secret at all: the keyrings are missing"
    );
    for secret in all {
        let name = secret.metadata.name.unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        let keys: Vec<_> = data.keys().map(String::as_str).collect();
        let of_redis =
            ["redis-tls", "redis-users"].contains(&name.as_str()) || name.ends_with("-behalf-store");
        ensure!(
            of_redis || keys == ["keyring.json"] || keys == ["revocations.json"],
            "Secret {name} holds {keys:?}"
        );
        for value in data.values() {
            let text = String::from_utf8_lossy(&value.0);
            ensure!(
                !issued.iter().any(|secret| text.contains(&secret.value)),
                "Secret {name} holds a token"
            );
            ensure!(!text.contains("eyJ"), "Secret {name} holds something like a JWT");
        }
    }
    Ok(())
}

/// The containers of a server's Pod that mount a projected token, init containers too.
fn holders(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let projected: Vec<_> = spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| {
            volume.projected.as_ref().is_some_and(|projected| {
                projected
                    .sources
                    .iter()
                    .flatten()
                    .any(|source| source.service_account_token.is_some())
            })
        })
        .map(|volume| volume.name.clone())
        .collect();
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers
        .filter(|container| {
            container
                .volume_mounts
                .iter()
                .flatten()
                .any(|mount| projected.contains(&mount.name))
        })
        .map(|container| container.name.clone())
        .collect()
}

pub(crate) async fn pod_of(world: &World, server: Server) -> TestResult<Pod> {
    let alive = pods_of(world, server).await?.into_iter().next();
    alive.ok_or_else(|| format!("{} has no Pod", server.name()).into())
}

/// The Pods of a server that are not being deleted.
pub(crate) async fn pods_of(world: &World, server: Server) -> TestResult<Vec<Pod>> {
    pods_of_object(world, server.name()).await
}

/// The Pods of the object with this name that are not being deleted.
pub(crate) async fn pods_of_object(world: &World, name: &str) -> TestResult<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let service = world.get("service", name)?;
    let selector: Vec<_> = service
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let found = pods
        .list(&ListParams::default().labels(&selector.join(",")))
        .await?;
    let alive = found
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(alive.collect())
}

async fn only_the_containers_that_exchange_hold_a_federated_token(world: &World) -> TestResult {
    let quickstart = holders(&pod_of(world, Server::Quickstart).await?);
    ensure!(
        quickstart.len() == 1 && quickstart[0].contains("sidecar"),
        "quickstart: {quickstart:?}"
    );
    let article = holders(&pod_of(world, Server::Article).await?);
    ensure!(article.len() == 2, "article: {article:?}");
    Ok(())
}

/// Searches for tokens as code that took over the container could: the process's variables, and each readable file that
/// begins like a JWT. Prints the path, never the token.
const LOOK_FOR_TOKENS: &str = r#"
    tr '\0' '\n' < /proc/1/environ | grep -E '^AZURE_[A-Z_]*=' | cut -d= -f1
    find /proc/1/root/ \( -path /proc/1/root/proc -o -path /proc/1/root/sys \) -prune -o -type f -size -64k -print 2>/dev/null |
      while read -r file; do
        if [ "$(head -c 3 "$file" 2>/dev/null)" = eyJ ]; then echo "token in ${file#/proc/1/root}"; fi
      done
    echo looked"#;

async fn a_read_from_inside_finds_a_federated_token_only_where_the_exchange_is(world: &World) -> TestResult {
    for (server, container, expected) in [
        (Server::Quickstart, "auth-sidecar", true),
        (Server::Quickstart, "mcp-server", false),
        (Server::Article, "mcp-server", true),
    ] {
        let pod = pod_of(world, server).await?;
        let seen = Inside::of(world, &pod, container)?.run(LOOK_FOR_TOKENS).await?;
        let place = format!("{}/{container}", server.name());
        ensure!(
            seen.lines().last() == Some("looked"),
            "{place}: the look was cut short: {seen}"
        );
        let tokens = seen.lines().any(|line| line.starts_with("token in "));
        let variable = seen.contains("AZURE_FEDERATED_TOKEN_FILE");
        ensure!(
            (tokens, variable) == (expected, expected),
            "{place}: a federated token should be {}: {seen}",
            if expected { "there" } else { "nowhere" }
        );
    }
    Ok(())
}

/// The audience of tokens for Entra.
const FEDERATION_AUDIENCE: &str = "api://AzureADTokenExchange";

async fn no_pod_has_a_kubernetes_credential(world: &World) -> TestResult {
    for server in Server::ALL {
        let pod = pod_of(world, server).await?;
        let name = server.name();
        let spec = pod.spec.as_ref().ok_or("the Pod has no spec")?;
        ensure!(
            spec.automount_service_account_token == Some(false),
            "{name}: the API token is mounted automatically"
        );
        let mut audiences = Vec::new();
        for volume in spec.volumes.iter().flatten() {
            let secret = volume
                .secret
                .as_ref()
                .and_then(|secret| secret.secret_name.as_deref());
            ensure!(
                secret.is_none_or(|secret| {
                    ["keyring", "revocations", "behalf-store"]
                        .iter()
                        .any(|ending| secret == format!("{name}-{ending}"))
                }),
                "{name}: volume {} mounts Secret {secret:?}",
                volume.name
            );
            let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
            for source in sources.flatten() {
                ensure!(
                    source.secret.is_none(),
                    "{name}: volume {} projects a Secret",
                    volume.name
                );
                let token = source.service_account_token.as_ref();
                audiences.extend(token.map(|token| token.audience.clone().unwrap_or_default()));
            }
        }
        ensure!(
            !audiences.is_empty() && audiences.iter().all(|audience| audience == FEDERATION_AUDIENCE),
            "{name}: tokens are projected for {audiences:?}"
        );
        let containers: Vec<_> = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .collect();
        ensure!(
            containers.len() == 2,
            "{name} has {} containers",
            containers.len()
        );
        for container in containers {
            let seen = Inside::of(world, &pod, &container.name)?
                .run(LOOK_FOR_API_CREDENTIALS)
                .await?;
            ensure!(
                seen.trim() == "control found\nlooked",
                "{name}/{} can read a credential of the API server: {seen}",
                container.name
            );
        }
    }
    Ok(())
}

/// Searches the default path of the API server's clients, and every readable file, for a token whose audience
/// is the API server. Prints the path, never the token. The script first writes such a token without a
/// signature. A search that misses this token proves nothing.
const LOOK_FOR_API_CREDENTIALS: &str = r#"
    is_for_the_api() {
      payload=$(cut -d. -f2 | tr '_-' '/+')
      echo "$payload===" | base64 -d 2>/dev/null | grep -q 'kubernetes\.default\.svc[^"]*"\]'
    }
    echo "eyJ.eyJhdWQiOlsiaHR0cHM6Ly9rdWJlcm5ldGVzLmRlZmF1bHQuc3ZjLmNsdXN0ZXIubG9jYWwiXX0.x" | is_for_the_api && echo "control found"
    ls -d /proc/1/root/var/run/secrets/kubernetes.io 2>/dev/null
    find /proc/1/root/ \( -path /proc/1/root/proc -o -path /proc/1/root/sys \) -prune -o -type f -size -64k -print 2>/dev/null |
      while read -r file; do
        if [ "$(head -c 3 "$file" 2>/dev/null)" = eyJ ] && is_for_the_api < "$file"; then
          echo "API token in ${file#/proc/1/root}"
        fi
      done
    echo looked"#;
