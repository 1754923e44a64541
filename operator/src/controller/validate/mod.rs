//! Validates a spec against the objects that were read. Pure: the same input gives the same plan or the same refusals.

mod defaults;
pub mod installation_policy;
mod refusal;
mod rules;
mod server;
#[cfg(test)]
mod tests;

pub use defaults::Defaults;
pub use refusal::{NotShared, Refusal, Refusals};
pub(crate) use rules::parse_tracing_endpoint;

use std::collections::BTreeSet;

use behalf_contract::{
    ClientsConfig, EntraConfig, MetadataDocumentsConfig, MetadataDocumentsPolicy, ObjectIdentity,
    Revocations, SIDECAR_MEMORY_LIMIT, SessionsConfig, StaticClient, paths,
};
use kube::ResourceExt as _;

use self::server::{access, server_kind, token_exchange};
use crate::api::v1alpha1::{self as api, McpServer};
use crate::controller::children::owner;
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::names;
use crate::controller::plan::{ContainerPlan, KeyringPlan, Plan, ServiceAccountPlan, StorePlan};

/// Default requests and limits of the server's container.
const SERVER: rules::DefaultResources = rules::DefaultResources {
    cpu: "50m",
    memory: "64Mi",
    memory_limit: "256Mi",
};

/// Default requests and limits of the sidecar's container.
const SIDECAR: rules::DefaultResources = rules::DefaultResources {
    cpu: "50m",
    memory: "32Mi",
    memory_limit: SIDECAR_MEMORY_LIMIT,
};

/// Returns the plan, or every reason why the object is refused.
pub fn validate(server: &McpServer, found: &ClusterState, defaults: &Defaults) -> Result<Plan, Refusals> {
    let mut refusals = Vec::new();
    let plan = plan(server, found, defaults, &mut refusals);
    match (plan, Refusals::new(refusals)) {
        (Some(plan), None) => Ok(plan),
        (_, Some(refusals)) => Err(refusals),
        // Each missing part of the plan has a refusal of its own, so this case does not occur.
        (None, None) => Err(Refusals::one(Refusal::Field {
            field: "spec",
            problem: "is not complete".to_owned(),
        })),
    }
}

/// Returns the revocations of a spec, or `None` if they are refused.
pub fn revocations(server: &McpServer) -> Option<Revocations> {
    rules::revocations(server.spec.sessions.revocations.as_ref(), &mut Vec::new())
}

fn plan(
    server: &McpServer,
    found: &ClusterState,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> Option<Plan> {
    let spec = &server.spec;
    let object = ObjectIdentity {
        namespace: server.namespace()?,
        name: server.name_any(),
    };
    let uid = server.uid()?;
    rules::name(&object.name, refusals);
    rules::replicas(spec, refusals);
    rules::environment(&spec.server.env, refusals);
    rules::pod(&spec.pod, refusals);
    let public_url = rules::public_url(&spec.public_url, refusals);
    if let Some(url) = &public_url {
        rules::public_url_owner(server, url, found, &defaults.allowed.namespaces, refusals);
        rules::public_url_host(url, &object.namespace, &defaults.allowed, refusals);
    }
    let entra = entra(spec, &object.namespace, defaults, refusals);
    let certificate_authority = defaults.references.certificate_authority(spec);
    rules::certificate_authority(
        rules::certificate_authority::named_by(&spec.entra),
        certificate_authority,
        found.certificate_authority.as_ref(),
        refusals,
    );
    let store = store_plan(&spec.sessions.store);
    rules::certificate_authority(
        rules::certificate_authority::STORE,
        store.certificate_authority.as_ref(),
        found.store_certificate_authority.as_ref(),
        refusals,
    );
    let service_account = service_account(&spec.entra.federation, &object, &uid, found, defaults, refusals);
    let keyring = match rules::keys(&spec.keys, refusals) {
        Some(reference) => Some(KeyringPlan::Given(reference.clone())),
        None => rules::keyring(&object, &uid, found, refusals),
    };
    let kind = server_kind(&spec.server, defaults, refusals);
    rules::around_container(spec, refusals);
    let token_exchange = token_exchange(spec, refusals);
    let server_resources = rules::resources("server.resources", &spec.server.resources, SERVER, refusals);
    let sidecar_resources = rules::resources("sidecar.resources", &spec.sidecar.resources, SIDECAR, refusals);
    let sessions = sessions(&spec.sessions, &object.namespace, defaults, refusals);
    // Only the refusals are needed here: controller/revocations.rs writes the revocations, also if another field is refused.
    rules::revocations(spec.sessions.revocations.as_ref(), refusals);
    let clients = clients(spec, &object.namespace, defaults, refusals);
    let trusted_proxies = rules::trusted_proxies(&spec.trusted_proxies, refusals);
    let route = rules::route(
        spec.route.as_ref(),
        public_url.as_ref(),
        found.has_gateway_api,
        refusals,
    );
    let tracing = rules::tracing(spec.tracing.as_ref(), &object, refusals);
    let log_level = spec
        .server
        .azure_dev_ops
        .as_ref()
        .map(|server| server.log_level)
        .unwrap_or_default();
    Some(Plan {
        owner: owner(server)?,
        object,
        public_url: public_url?,
        entra: entra?,
        certificate_authority: certificate_authority.cloned(),
        store,
        service_account,
        keyring: keyring?,
        access: access(kind.as_ref()?),
        kind: kind?,
        server: ContainerPlan {
            image: match &spec.server.container {
                Some(container) => container.image.clone(),
                None => defaults.server_image.clone(),
            },
            resources: server_resources,
            log_level,
            env: spec.server.env.clone(),
        },
        sidecar: ContainerPlan {
            image: defaults.sidecar_image.clone(),
            resources: sidecar_resources,
            log_level: spec.sidecar.log_level,
            env: Vec::new(),
        },
        token_exchange,
        sessions: sessions?,
        clients: clients?,
        trusted_proxies,
        tracing,
        egress_proxy: defaults.egress_proxy.clone(),
        child_labels: defaults.child_labels.clone(),
        replicas: spec
            .replicas
            .unwrap_or_else(|| default_replicas(spec.sessions.store.kind)),
        suspend: spec.suspend,
        network: spec.network.clone(),
        route,
        pod: defaults.references.complete(&spec.pod),
        listen: defaults.listen,
        operator_namespace: defaults.operator_namespace.clone(),
    })
}

fn entra(
    spec: &api::McpServerSpec,
    namespace: &str,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> Option<EntraConfig> {
    let entra = &spec.entra;
    let tenant_id = rules::guid("entra.tenantId", &entra.tenant_id, refusals);
    let client_id = rules::guid("entra.clientId", &entra.client_id, refusals);
    if let Some(client_id) = &client_id {
        rules::client_id(
            "entra.clientId",
            client_id,
            namespace,
            &defaults.allowed,
            refusals,
        );
    }
    let authority = rules::https_origin("entra.authority", &entra.authority, refusals);
    if let Some(authority) = &authority {
        rules::entra_host(authority, &defaults.allowed, refusals);
    }
    if let Some(audience) = &entra.federation.audience {
        rules::audience(audience, refusals);
    }
    let (client_id, authority) = (client_id?, authority?);
    Some(EntraConfig {
        tenant_id: tenant_id?,
        // One application signs users in and is the API they sign in to; Entra wants it named by its GUID
        // (AADSTS90009).
        scope: entra
            .scope
            .clone()
            .unwrap_or_else(|| format!("{client_id}/.default")),
        client_id,
        federation_audience: entra
            .federation
            .audience
            .clone()
            .unwrap_or_else(|| rules::default_audience(&authority).to_owned()),
        authority,
        certificate_authority_file: defaults
            .references
            .certificate_authority(spec)
            .is_some()
            .then(|| paths::CERTIFICATE_AUTHORITY.into()),
    })
}

fn service_account(
    federation: &api::Federation,
    object: &ObjectIdentity,
    uid: &str,
    found: &ClusterState,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> ServiceAccountPlan {
    let Some(name) = &federation.service_account_name else {
        return ServiceAccountPlan::Own;
    };
    if !rules::object_name("entra.federation.serviceAccountName", name, refusals) {
        return ServiceAccountPlan::Given(name.clone());
    }
    match &found.service_account {
        // Naming the one that was made for this object is the same as naming none.
        Some(account) if names::controller_uid(&account.metadata) == Some(uid) => {
            return ServiceAccountPlan::Own;
        }
        Some(account) => {
            let own_namespace = defaults.operator_namespace.as_ref() == Some(&object.namespace);
            if let Err(why) = rules::shared(account, name, object, own_namespace) {
                let name = name.clone();
                refusals.push(Refusal::ServiceAccountNotShared { name, why });
            }
        }
        None => refusals.push(Refusal::ServiceAccountNotFound { name: name.clone() }),
    }
    ServiceAccountPlan::Given(name.clone())
}

fn sessions(
    sessions: &api::Sessions,
    namespace: &str,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> Option<SessionsConfig> {
    let access = rules::seconds(
        "sessions.accessTokenLifetime",
        &sessions.access_token_lifetime,
        refusals,
    );
    let idle = rules::seconds("sessions.idleLifetime", &sessions.idle_lifetime, refusals);
    let maximum = rules::seconds("sessions.maximumLifetime", &sessions.maximum_lifetime, refusals);
    let grace = rules::seconds("sessions.refreshGrace", &sessions.refresh_grace, refusals);
    let store = rules::store(&sessions.store, namespace, &defaults.allowed, refusals);
    let config = SessionsConfig {
        access_token_lifetime_seconds: access?,
        idle_lifetime_seconds: idle?,
        maximum_lifetime_seconds: maximum?,
        refresh_grace_seconds: grace?,
        store: store?,
    };
    rules::lifetimes(&config, refusals);
    Some(config)
}

/// Returns the objects that the Pods mount for the store.
fn store_plan(store: &api::Store) -> StorePlan {
    let redis = store.redis.as_ref();
    StorePlan {
        secret: redis
            .and_then(|redis| redis.auth.secret.as_ref())
            .map(|secret| secret.secret_ref.clone()),
        certificate_authority: redis.and_then(|redis| redis.certificate_authority_ref.clone()),
    }
}

/// Returns the number of Pods of a spec without `replicas`: as many as a Pod's loss needs, if Pods share their sessions.
fn default_replicas(store: api::StoreType) -> i32 {
    match store {
        api::StoreType::Memory => 1,
        api::StoreType::Redis => 2,
    }
}

/// Returns the hosts whose documents the sidecar reads through the proxy by name, sorted. A change of the installation's list that
/// has no effect on the object should be no rollout.
fn hosts_by_name(documents: &api::MetadataDocuments, defaults: &Defaults) -> Vec<String> {
    if defaults.egress_proxy.is_none() || documents.policy == api::MetadataDocumentsPolicy::Disabled {
        return Vec::new();
    }
    let is_read =
        |host: &&String| documents.allowed_hosts.is_empty() || documents.allowed_hosts.contains(*host);
    let hosts: BTreeSet<&String> = defaults.allowed.document_hosts.iter().filter(is_read).collect();
    hosts.into_iter().cloned().collect()
}

fn clients(
    spec: &api::McpServerSpec,
    namespace: &str,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> Option<ClientsConfig> {
    let clients = &spec.clients;
    let before = refusals.len();
    rules::redirect_hosts(&clients.additional_redirect_hosts, &defaults.allowed, refusals);
    rules::document_hosts(&clients.metadata_documents.allowed_hosts, refusals);
    rules::static_clients(&clients.r#static, &defaults.allowed, refusals);
    let entra_token_clients = rules::entra_tokens(
        &clients.entra_tokens,
        &spec.entra.client_id,
        namespace,
        &defaults.allowed,
        refusals,
    );
    rules::denied_clients(&clients.denied, &clients.r#static, refusals);
    (refusals.len() == before).then(|| ClientsConfig {
        dynamic_registration: match clients.dynamic_registration {
            api::DynamicRegistration::Enabled => behalf_contract::DynamicRegistration::Enabled,
            api::DynamicRegistration::Disabled => behalf_contract::DynamicRegistration::Disabled,
        },
        metadata_documents: MetadataDocumentsConfig {
            policy: match clients.metadata_documents.policy {
                api::MetadataDocumentsPolicy::Enabled => MetadataDocumentsPolicy::Enabled,
                api::MetadataDocumentsPolicy::Disabled => MetadataDocumentsPolicy::Disabled,
            },
            allowed_hosts: clients.metadata_documents.allowed_hosts.clone(),
            hosts_by_name: hosts_by_name(&clients.metadata_documents, defaults),
        },
        vendor_redirects: match clients.vendor_redirects {
            api::VendorRedirects::Enabled => behalf_contract::VendorRedirects::Enabled,
            api::VendorRedirects::Disabled => behalf_contract::VendorRedirects::Disabled,
        },
        denied: clients.denied.clone(),
        entra_token_clients,
        consent: match clients.consent {
            api::Consent::Always => behalf_contract::Consent::Always,
            api::Consent::Remember => behalf_contract::Consent::Remember,
        },
        additional_redirect_hosts: clients.additional_redirect_hosts.clone(),
        r#static: clients
            .r#static
            .iter()
            .map(|client| StaticClient {
                client_id: client.client_id.clone(),
                display_name: client.display_name.clone(),
                redirect_uris: client.redirect_uris.clone(),
            })
            .collect(),
    })
}
