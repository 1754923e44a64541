//! One function for each rule. The CRD's schema says most of them too, so that `kubectl apply` refuses at
//! once; here they hold for objects that an older or laxer schema let in.

use behalf_contract::{ObjectIdentity, SessionsConfig};
use k8s_openapi::api::core::v1::{EnvVar, ServiceAccount};
use kube::ResourceExt as _;
use url::{Host, Url};

use super::refusal::{NotShared, Refusal};
use crate::api::crd::NAME_LENGTH;
use crate::api::v1alpha1::{
    DurationText, Entra, McpServer, McpServerSpec, PodSettings, StaticClient, StoreType,
};
use crate::controller::found::{Claim, Found};
use crate::controller::names;

fn refuse(refusals: &mut Vec<Refusal>, field: &'static str, problem: impl Into<String>) {
    refusals.push(Refusal::Field {
        field,
        problem: problem.into(),
    });
}

/// A Service's name must be a DNS label that starts with a letter, and names of children are longer.
pub(super) fn name(name: &str, refusals: &mut Vec<Refusal>) {
    let label = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if name.len() > NAME_LENGTH || !label || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        refuse(
            refusals,
            "metadata.name",
            format!(
                "must have at most {NAME_LENGTH} characters, start with a letter and hold only a-z, 0-9 and -"
            ),
        );
    }
}

/// Sessions in one Pod's memory are unknown to every other Pod.
pub(super) fn replicas(spec: &McpServerSpec, refusals: &mut Vec<Refusal>) {
    match (spec.replicas, spec.sessions.store.kind) {
        (Some(replicas), _) if replicas < 1 => {
            refuse(
                refusals,
                "replicas",
                "must be at least 1; use suspend to stop the Pods",
            );
        }
        (Some(replicas), StoreType::Memory) if replicas > 1 => refuse(
            refusals,
            "replicas",
            "must be 1 with sessions.store.type Memory: sessions live in one Pod's memory",
        ),
        _ => {}
    }
}

/// The OAuth issuer: compared as text by clients, so it has exactly one spelling.
pub(super) fn public_url(text: &str, refusals: &mut Vec<Refusal>) -> Option<Url> {
    let url = origin(text).filter(|url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(host))) => host == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    });
    if url.is_none() {
        refuse(
            refusals,
            "publicUrl",
            "must be an origin in lower case without path, trailing slash or default port: https://<host>[:port], \
             or http:// on localhost, 127.0.0.1 or [::1]",
        );
    }
    url
}

/// Where tokens are sent.
pub(super) fn https_origin(field: &'static str, text: &str, refusals: &mut Vec<Refusal>) -> Option<Url> {
    let url = origin(text).filter(|url| url.scheme() == "https");
    if url.is_none() {
        refuse(
            refusals,
            field,
            "must be https://<host>[:port] in lower case, without path, trailing slash or default port",
        );
    }
    url
}

/// The URL when `text` is its canonical origin, to the letter.
fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (url.has_host() && url.origin().ascii_serialization() == text).then_some(url)
}

/// A GUID in any case; tokens carry it in lower case, so does everything made from it.
pub(super) fn guid(field: &'static str, text: &str, refusals: &mut Vec<Refusal>) -> Option<String> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if groups == [8, 4, 4, 4, 12] && hexadecimal {
        return Some(text.to_ascii_lowercase());
    }
    refuse(
        refusals,
        field,
        "must be a GUID, as az account show and az ad app show print them",
    );
    None
}

/// The oldest object keeps the address.
pub(super) fn claims(server: &McpServer, claims: &[Claim], refusals: &mut Vec<Refusal>) {
    let own = (server.creation_timestamp().map(|time| time.0), server.uid());
    let older = claims
        .iter()
        .filter(|claim| (claim.created_at, Some(claim.uid.clone())) < own)
        .min_by_key(|claim| (claim.created_at, claim.uid.clone()));
    if let Some(claim) = older {
        refusals.push(Refusal::PublicUrlTaken {
            namespace: claim.namespace.clone(),
            name: claim.name.clone(),
        });
    }
}

/// Only tokens that Entra alone takes: the Pods hand them to the authority that the same spec names.
pub(super) fn audience(audience: &str, refusals: &mut Vec<Refusal>) {
    let rest = audience.strip_prefix("api://").unwrap_or_default();
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        refuse(
            refusals,
            "entra.federation.audience",
            "must start with api:// and hold no spaces, as api://AzureADTokenExchange does",
        );
    }
}

/// A name of another object, which becomes a part of an API path. False if it is none.
pub(super) fn object_name(field: &'static str, name: &str, refusals: &mut Vec<Refusal>) -> bool {
    let is_name = names::is_subdomain(name);
    if !is_name {
        refuse(
            refusals,
            field,
            "must be the name of an object: a-z, 0-9, - and ., beginning and ending with a letter or digit",
        );
    }
    is_name
}

/// Whoever may write objects must not get at the identity of any `ServiceAccount`: its owner has to agree.
pub(super) fn shared(
    account: &ServiceAccount,
    name: &str,
    object: &ObjectIdentity,
    own_namespace: bool,
) -> Result<(), NotShared> {
    if own_namespace {
        return Err(NotShared::OperatorNamespace);
    }
    if let Some(owner) = names::controller(&account.metadata) {
        return Err(NotShared::Controlled {
            kind: owner.kind.clone(),
            owner: owner.name.clone(),
        });
    }
    let annotation = account.annotations().get(names::SHARED_WITH_ANNOTATION);
    let listed: Vec<&str> = annotation
        .iter()
        .flat_map(|list| list.split(',').map(str::trim))
        .collect();
    if listed.contains(&object.name.as_str()) {
        return Ok(());
    }
    // The message is pasted into a shell, so nothing but names goes into it.
    let list: Vec<&str> = listed
        .into_iter()
        .filter(|name| names::is_subdomain(name))
        .chain([object.name.as_str()])
        .collect();
    let overwrite = if annotation.is_some() { " --overwrite" } else { "" };
    Err(NotShared::NotListed {
        command: format!(
            "kubectl annotate serviceaccount {name} -n {} {}={}{overwrite}",
            object.namespace,
            names::SHARED_WITH_ANNOTATION,
            list.join(",")
        ),
    })
}

/// The bundle must exist and look like one; the containers parse it.
pub(super) fn certificate_authority(entra: &Entra, found: &Found, refusals: &mut Vec<Refusal>) {
    let Some(reference) = &entra.certificate_authority_ref else {
        return;
    };
    if !object_name("entra.certificateAuthorityRef.name", &reference.name, refusals) {
        return;
    }
    let (name, key) = (reference.name.clone(), reference.key.clone());
    let content = found.certificate_authority.as_ref().and_then(|config_map| {
        let text = config_map
            .data
            .as_ref()
            .and_then(|data| data.get(&key))
            .map(String::as_bytes);
        let bytes = config_map
            .binary_data
            .as_ref()
            .and_then(|data| data.get(&key))
            .map(|data| data.0.as_slice());
        text.or(bytes)
    });
    let begin = b"-----BEGIN CERTIFICATE-----";
    match content {
        None => refusals.push(Refusal::CertificateAuthorityNotFound { name, key }),
        Some(bytes) if !bytes.windows(begin.len()).any(|window| window == begin) => {
            refusals.push(Refusal::CertificateAuthorityInvalid { name, key });
        }
        Some(_) => {}
    }
}

/// No variable may stand in for what the operator sets, and none may read a Secret: who may write objects
/// would read every Secret of the namespace.
pub(super) fn environment(env: &[EnvVar], refusals: &mut Vec<Refusal>) {
    for variable in env {
        if variable.name.starts_with("AZURE_") || variable.name.starts_with("BEHALF_") {
            refuse(
                refusals,
                "server.env",
                format!(
                    "must not set {}: names that start with AZURE_ or BEHALF_ are set by the operator",
                    variable.name
                ),
            );
        }
        let secret = variable
            .value_from
            .as_ref()
            .and_then(|source| source.secret_key_ref.as_ref());
        if secret.is_some() {
            refuse(
                refusals,
                "server.env",
                format!(
                    "must not read a Secret for {}: the built-in server needs none",
                    variable.name
                ),
            );
        }
    }
}

/// Keys that select Pods, name their configuration or call the Azure webhook.
pub(super) fn pod(pod: &PodSettings, refusals: &mut Vec<Refusal>) {
    for (field, keys) in [("pod.labels", &pod.labels), ("pod.annotations", &pod.annotations)] {
        for key in keys.keys() {
            let Some((prefix, _)) = key.split_once('/') else {
                continue;
            };
            let reserved = ["azure.workload.identity", "behalf.dev", "app.kubernetes.io"]
                .into_iter()
                .any(|reserved| prefix == reserved || prefix.ends_with(&format!(".{reserved}")));
            if reserved {
                refuse(
                    refusals,
                    field,
                    format!("must not use the key {key}: it is reserved"),
                );
            }
        }
    }
    // The server waits ten seconds before it stops.
    if !(15..=3600).contains(&pod.termination_grace_period_seconds) {
        refuse(
            refusals,
            "pod.terminationGracePeriodSeconds",
            "must be between 15 and 3600",
        );
    }
}

pub(super) fn organization(name: &str, refusals: &mut Vec<Refusal>) {
    let characters = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || name.len() > 50 || !characters || name.starts_with('-') || name.ends_with('-') {
        refuse(
            refusals,
            "server.azureDevOps.organization",
            "must be the organization's name alone, as in https://dev.azure.com/<name>: letters, digits and hyphens",
        );
    }
}

/// The same rule as the server's own for names that a model gives: a name must not leave its place in an
/// address.
pub(super) fn projects(projects: &[String], refusals: &mut Vec<Refusal>) {
    // https://learn.microsoft.com/azure/devops/organizations/settings/naming-restrictions
    let reserved = |character: char| character.is_control() || r#"\/:*?"<>|#"#.contains(character);
    for project in projects {
        if project.is_empty()
            || project.chars().count() > 64
            || project.contains(reserved)
            || project.starts_with(['.', '_'])
            || project.ends_with('.')
        {
            refuse(
                refusals,
                "server.azureDevOps.projects",
                format!("must hold names or ids of projects; {project:?} is neither"),
            );
        }
    }
}

pub(super) fn seconds(field: &'static str, text: &DurationText, refusals: &mut Vec<Refusal>) -> Option<u64> {
    let seconds = text.seconds();
    if seconds.is_none() {
        refuse(
            refusals,
            field,
            "must be a length of time such as 90s, 15m or 1h30m",
        );
    }
    seconds
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

pub(super) fn lifetimes(sessions: &SessionsConfig, refusals: &mut Vec<Refusal>) {
    if !(MINUTE..=DAY).contains(&sessions.access_token_lifetime_seconds) {
        refuse(
            refusals,
            "sessions.accessTokenLifetime",
            "must be between 1m and 24h",
        );
    }
    if sessions.idle_lifetime_seconds < sessions.access_token_lifetime_seconds {
        refuse(
            refusals,
            "sessions.idleLifetime",
            "must not be shorter than sessions.accessTokenLifetime",
        );
    }
    if !(sessions.idle_lifetime_seconds..=366 * DAY).contains(&sessions.maximum_lifetime_seconds) {
        refuse(
            refusals,
            "sessions.maximumLifetime",
            "must be between sessions.idleLifetime and 8784h (366 days)",
        );
    }
    if sessions.refresh_grace_seconds > 10 * MINUTE {
        refuse(refusals, "sessions.refreshGrace", "must not be longer than 10m");
    }
}

pub(super) fn redirect_hosts(hosts: &[String], refusals: &mut Vec<Refusal>) {
    for host in hosts {
        if origin(&format!("https://{host}")).and_then(|url| url.host_str().map(|parsed| parsed == host))
            != Some(true)
        {
            refuse(
                refusals,
                "clients.allowedRedirectHosts",
                format!("must hold hosts alone, in lower case; {host:?} is none"),
            );
        }
    }
}

pub(super) fn static_clients(clients: &[StaticClient], refusals: &mut Vec<Refusal>) {
    for (index, client) in clients.iter().enumerate() {
        if clients
            .iter()
            .take(index)
            .any(|other| other.client_id == client.client_id)
        {
            refuse(
                refusals,
                "clients.static",
                format!("must not name the client {:?} twice", client.client_id),
            );
        }
        for uri in client.redirect_uris.iter().filter(|uri| !is_redirect_uri(uri)) {
            refuse(
                refusals,
                "clients.static",
                format!(
                    "must have redirect URIs with https, or http on a loopback host, without fragment or user; {uri:?} \
                     of {:?} is none",
                    client.client_id
                ),
            );
        }
    }
}

fn is_redirect_uri(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(host)) => host == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    // RFC 6749, section 3.1.2: absolute, without fragment.
    scheme
        && url.has_host()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}
