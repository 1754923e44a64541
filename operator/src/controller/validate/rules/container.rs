//! The rules for a server from an image of the object's author, and for the tokens that it gets.

use behalf_contract::ports;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use url::Url;

use super::refuse;
use crate::api::v1alpha1::{
    Container, Entra, ExchangePlace, Injection, McpServerSpec, PodSettings, RedisAuthType, Store,
    TokenExchange,
};
use crate::controller::names;
use crate::controller::plan::ForeignPlan;
use crate::controller::validate::Refusal;
use crate::controller::validate::installation_policy::{Allowed, is_repository_path};

/// Directories that belong to the kernel, or to the operator's own volumes.
const RESERVED_DIRECTORIES: [&str; 6] = ["/proc", "/sys", "/dev", "/etc/behalf", "/var/run", "/run"];

/// Validates the container and returns its plan.
pub(crate) fn container(
    container: &Container,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) -> Option<ForeignPlan> {
    let before = refusals.len();
    image(&container.image, allowed, refusals);
    let port = u16::try_from(container.port)
        .ok()
        .filter(|port| *port >= 1024 && ![ports::PUBLIC, ports::INTERNAL].contains(port));
    if port.is_none() {
        refuse(
            refusals,
            "server.container.port",
            "must be between 1024 and 65535, and not 8080 or 9090, where the sidecar listens",
        );
    }
    let endpoint = endpoint(port.unwrap_or_default(), &container.path);
    if endpoint.is_none() {
        refuse(
            refusals,
            "server.container.path",
            "must be an absolute path of letters, digits and ._~/- without segments . and ..",
        );
    }
    for path in &container.writable_paths {
        writable_path(path, refusals);
    }
    writable_size(&container.writable_size, refusals);
    let user = container.run_as_user.map_or(names::SERVER_USER, i64::from);
    if user <= 0 || user == names::SIDECAR_USER {
        refuse(
            refusals,
            "server.container.runAsUser",
            "must be neither root nor 65532, which is the sidecar's user",
        );
    }
    let endpoint = endpoint.filter(|_| refusals.len() == before)?;
    Some(ForeignPlan {
        command: container.command.clone(),
        args: container.args.clone(),
        endpoint,
        writable_paths: container.writable_paths.clone(),
        writable_size: Quantity(container.writable_size.clone()),
        user,
    })
}

/// Validates that the installation allows the image. Its program gets users' tokens.
fn image(image: &str, allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    // Without tag and digest. A colon before the last slash belongs to the registry's port.
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let repository = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    if !is_repository_path(repository) {
        refuse(
            refusals,
            "server.container.image",
            "must name its registry, as in registry.contoso.example/mcp/server:1",
        );
        return;
    }
    if allowed.server_repositories.is_empty() {
        refuse(
            refusals,
            "server.container.image",
            "cannot be used: this installation allows no images of servers; have an administrator of the installation \
             allow its repository with allowed.serverRepositories of the chart behalf",
        );
    } else if !allowed.server_image(repository) {
        refuse(
            refusals,
            "server.container.image",
            format!(
                "must not name the repository {repository}: this installation does not allow it; name another one, or \
                 have an administrator of the installation allow it with allowed.serverRepositories of the chart behalf"
            ),
        );
    }
}

/// Returns the address of the MCP endpoint. IPv4 loopback exists in every Pod, also in a cluster of IPv6.
fn endpoint(port: u16, path: &str) -> Option<Url> {
    let characters = path
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte));
    let url = Url::parse(&format!("http://127.0.0.1:{port}{path}")).ok()?;
    // A parser removes the segments . and .., and reads a text without a first slash as part of the port or host. Then the
    // address would not be the one that is written.
    (characters && url.path() == path).then_some(url)
}

/// Validates a directory that becomes an empty volume.
fn writable_path(path: &str, refusals: &mut Vec<Refusal>) {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_plain = path.strip_prefix('/').is_some_and(|path| {
        path.split('/').all(|segment| {
            // A hidden directory is one, but . and .. lead elsewhere.
            let name = segment.strip_prefix('.').unwrap_or(segment);
            !name.is_empty() && !name.starts_with('.') && segment.bytes().all(characters)
        })
    });
    let is_reserved = RESERVED_DIRECTORIES.into_iter().any(|reserved| {
        path.strip_prefix(reserved)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if !is_plain || is_reserved {
        refuse(
            refusals,
            "server.container.writablePaths",
            format!(
                "must contain absolute directories outside of {}; {path:?} is none",
                RESERVED_DIRECTORIES.join(", ")
            ),
        );
    }
}

/// Validates the size of a writable directory. The upper bound protects the node's disk.
fn writable_size(text: &str, refusals: &mut Vec<Refusal>) {
    let mebibytes = text.strip_suffix("Mi").map(|number| (number, 1));
    let size = mebibytes.or_else(|| text.strip_suffix("Gi").map(|number| (number, 1024)));
    let size = size.and_then(|(number, unit)| number.parse::<u32>().ok()?.checked_mul(unit));
    if !size.is_some_and(|mebibytes| (1..=4096).contains(&mebibytes)) {
        refuse(
            refusals,
            "server.container.writableSize",
            "must be between 1Mi and 4Gi, for example 256Mi",
        );
    }
}

/// Validates the settings around a container, whose program nobody here knows.
pub(crate) fn around_container(spec: &McpServerSpec, refusals: &mut Vec<Refusal>) {
    if spec.server.container.is_some() {
        pod_keys(&spec.pod, refusals);
        store_credential(&spec.sessions.store, refusals);
    }
}

/// Refuses labels and annotations. The author may have no right to create Pods with them.
fn pod_keys(pod: &PodSettings, refusals: &mut Vec<Refusal>) {
    if !pod.labels.is_empty() {
        refuse(
            refusals,
            "pod.labels",
            "must be empty with server.container: a label can put the server behind the Service of others, or give it their \
             access to the network; remove it",
        );
    }
    if !pod.annotations.is_empty() {
        refuse(
            refusals,
            "pod.annotations",
            "must be empty with server.container: by an annotation the cluster's webhooks and network plugin can give the \
             server more than the operator does; remove it",
        );
    }
}

/// Refuses a store that needs no credential. The server reaches whatever the sidecar of its Pod reaches.
fn store_credential(store: &Store, refusals: &mut Vec<Refusal>) {
    let auth = store.redis.as_ref().map(|redis| redis.auth.kind);
    if auth == Some(RedisAuthType::None) {
        refuse(
            refusals,
            "sessions.store.redis.auth.type",
            "must be Entra or Secret with server.container: the server has the network of the sidecar, and could change \
             sessions in a Redis without credentials",
        );
    }
}

/// Refuses a scope of the application itself. The server would get a token that this application accepts from users.
fn foreign_scope(exchange: &TokenExchange, entra: &Entra, refusals: &mut Vec<Refusal>) {
    let resource = |scope: &str| {
        let (resource, _) = scope.rsplit_once('/')?;
        Some(resource.to_ascii_lowercase())
    };
    let own_scopes = entra.scope.iter().flat_map(|scopes| scopes.split(' '));
    let own: Vec<String> = own_scopes.filter_map(resource).collect();
    let client_id = entra.client_id.to_ascii_lowercase();
    let scopes = exchange.scope.iter().flat_map(|scopes| scopes.split(' '));
    let names_application = |scope: &str| {
        scope.to_ascii_lowercase().contains(&client_id)
            || resource(scope).is_some_and(|resource| own.contains(&resource))
    };
    if scopes.into_iter().any(names_application) {
        refuse(
            refusals,
            "tokenExchange.scope",
            "must not name the application of entra.clientId and entra.scope: the server would get a token for this server itself; \
             name the API that the server calls",
        );
    }
}

/// Validates that the settings of the exchange fit the kind of server.
pub(crate) fn token_exchange(spec: &McpServerSpec, refusals: &mut Vec<Refusal>) {
    let (exchange, is_container) = (&spec.token_exchange, spec.server.container.is_some());
    foreign_scope(exchange, &spec.entra, refusals);
    let injects = exchange.injection != Some(Injection::None);
    if is_container && exchange.at == Some(ExchangePlace::Server) {
        refuse(
            refusals,
            "tokenExchange.at",
            "must be Sidecar with server.container: such a container has no credential; remove the field",
        );
    }
    if is_container && injects && exchange.scope.is_none() {
        refuse(
            refusals,
            "tokenExchange.scope",
            "is required with server.container: set it to the scope of the API that the server calls, for example \
             api://<id>/.default, or set tokenExchange.injection to None if the server needs no token",
        );
    }
    if !injects && (!is_container || exchange.scope.is_some()) {
        refuse(
            refusals,
            "tokenExchange.injection",
            "None needs server.container and excludes tokenExchange.scope: no token is obtained",
        );
    }
}
