//! Fixtures for tests: the examples that users apply, as the API server would hand them back.

use std::net::{IpAddr, Ipv4Addr};

use behalf_contract::{
    FederationReport, HandshakeReport, KeyMaterial, KeyringReport, Outcome, ServerInfo, SessionsReport,
    SignInReport, StatusDocument, StoreKind, TenantReport,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::api::v1alpha1::McpServer;
use crate::controller::child_labels::ChildLabels;
use crate::controller::children::{Built, Children};
use crate::controller::children::{FreshKey, FreshKeys, build};
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::max_rollouts::MaxRollouts;
use crate::controller::plan::Plan;
use crate::controller::reference_defaults::ReferenceDefaults;
use crate::controller::validate::Defaults;
use crate::controller::validate::installation_policy::{
    AZURE_DEV_OPS_HOSTS, Allowed, ENTRA_HOSTS, Namespaces,
};
use crate::controller::validate::{Refusals, validate};

pub(crate) const QUICKSTART: &str = include_str!("../../examples/quickstart.yaml");
pub(crate) const ARTICLE: &str = include_str!("../../examples/article.yaml");

pub(crate) const CONTAINER: &str = include_str!("../../examples/container.yaml");

pub(crate) const ROUTE: &str = include_str!("../../examples/gateway-route.yaml");

/// The issuer of the cluster.
pub(crate) const ISSUER: &str = "https://issuer.contoso.example/";

/// Every example, by name.
pub(crate) const EXAMPLES: [(&str, &str); 2] = [("quickstart", QUICKSTART), ("article", ARTICLE)];

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// Parses a manifest and adds what the API server adds.
pub(crate) fn server(manifest: &str) -> McpServer {
    let mut server: McpServer = serde_yaml::from_str(manifest).unwrap();
    server.metadata.uid = Some("6b1f7f6e-0000-4000-8000-000000000001".to_owned());
    server.metadata.generation = Some(1);
    server.metadata.resource_version = Some("100".to_owned());
    server.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(0)));
    server
}

/// The quickstart with other fields of its spec, as a merge patch.
pub(crate) fn quickstart_with(patch: serde_json::Value) -> McpServer {
    let original = server(QUICKSTART);
    let mut value = serde_json::to_value(&original).unwrap();
    merge(value.get_mut("spec").unwrap(), patch);
    let changed: McpServer = serde_json::from_value(value).unwrap();
    assert_eq!(changed.name_any(), original.name_any());
    changed
}

/// The address of the Redis in [`redis`].
pub(crate) const REDIS: &str = "rediss://redis.example:6380";

/// A patch that selects a Redis, with these settings merged into those of the Redis. `null` removes a field.
pub(crate) fn redis(settings: serde_json::Value) -> serde_json::Value {
    let mut redis = serde_json::json!({
        "endpoints": [REDIS],
        "auth": {"type": "Secret", "secret": {"secretRef": {"name": "redis-behalf-store", "usernameKey": "username"}}},
    });
    merge(&mut redis, settings);
    serde_json::json!({"sessions": {"store": {"type": "Redis", "redis": redis}}})
}

/// Merges a patch as RFC 7396 describes it.
pub(crate) fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    match (target, patch) {
        (serde_json::Value::Object(target), serde_json::Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(serde_json::json!({})), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

pub(crate) fn defaults() -> Defaults {
    Defaults {
        sidecar_image: "registry.contoso.example/behalf/auth-sidecar:1".to_owned(),
        server_image: "registry.contoso.example/behalf/mcp-server:1".to_owned(),
        allowed: Allowed {
            entra_hosts: [&ENTRA_HOSTS[..], &["entra.test.example:8443"]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            azure_dev_ops_hosts: AZURE_DEV_OPS_HOSTS.map(str::to_owned).to_vec(),
            redirect_hosts: vec!["agents.contoso.example".to_owned(), "ci.example:8443".to_owned()],
            document_hosts: vec!["vscode.dev".to_owned()],
            server_repositories: vec!["registry.contoso.example/mcp".to_owned()],
            namespaces: Namespaces::default(),
        },
        egress_proxy: None,
        references: ReferenceDefaults::default(),
        max_rollouts: MaxRollouts::default(),
        child_labels: ChildLabels::default(),
        operator_namespace: Some("behalf-system".to_owned()),
        listen: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

pub(crate) fn judge(server: &McpServer, found: &ClusterState) -> Result<Plan, Refusals> {
    validate(server, found, &defaults())
}

/// The objects around an `McpServer` that may use the `ServiceAccount` that it names.
pub(crate) fn shared(server: &McpServer) -> ClusterState {
    let name = &server.spec.entra.federation.service_account_name;
    let account = serde_json::json!({"metadata": {
        "name": name, "annotations": {"behalf.dev/mcp-servers": server.name_any()},
    }});
    ClusterState {
        service_account: name.as_ref().map(|_| serde_json::from_value(account).unwrap()),
        has_gateway_api: true,
        ..ClusterState::default()
    }
}

/// The `ReplicaSet` of a Deployment, as the operator caches it.
pub(crate) fn replica_set(deployment: &Deployment) -> ReplicaSet {
    let name = deployment.name_any();
    let replica_set = serde_json::json!({"metadata": {
        "name": name, "namespace": deployment.namespace(), "uid": format!("replica-set-of-{name}"),
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "controller": true,
            "uid": deployment.uid().unwrap_or_default(),
        }],
    }});
    serde_json::from_value(replica_set).unwrap()
}

pub(crate) fn plan(server: &McpServer) -> Plan {
    judge(server, &shared(server)).unwrap()
}

pub(crate) fn fresh() -> FreshKeys {
    FreshKeys {
        sessions: FreshKey {
            id: [0, 0, 0, 1],
            material: KeyMaterial::new([1; 32]),
        },
        clients: FreshKey {
            id: [0, 0, 0, 1],
            material: KeyMaterial::new([2; 32]),
        },
        created_at: time(0),
    }
}

/// The Secret with the revocations of an object.
pub(crate) fn revocations(server: &McpServer) -> Secret {
    let revocations = crate::controller::validate::revocations(server).unwrap();
    crate::controller::children::revocations::build(server, &revocations, &ChildLabels::default()).unwrap()
}

/// The digest of a file of revocations that names none.
pub(crate) const NO_REVOCATIONS: &str =
    "sha256:adac7b84dc3b7394d8385aa0c65fe27a19915d6ab4b0e0d826d34fb439541d3f";

pub(crate) fn children(server: &McpServer) -> Children<Built> {
    build(&plan(server), Some(fresh())).unwrap()
}

/// The status document of a Pod in which everything works.
pub(crate) fn document(digest: &str) -> StatusDocument {
    StatusDocument {
        configuration_digest: digest.to_owned(),
        keyring: KeyringReport {
            sealing: "s00000001".to_owned(),
            opening: vec!["s00000001".to_owned()],
            ..KeyringReport::default()
        },
        revocations_digest: Some(NO_REVOCATIONS.to_owned()),
        federation: FederationReport {
            outcome: Outcome::Verified,
            reason: "TokenAccepted".to_owned(),
            message: String::new(),
            correlation_id: None,
            issuer: Some(ISSUER.to_owned()),
            subject: Some("system:serviceaccount:mcp:azure-devops".to_owned()),
            audience: Some("api://AzureADTokenExchange".to_owned()),
            observed_at: Some(time(50)),
        },
        handshake: HandshakeReport {
            outcome: Outcome::Verified,
            reason: "HandshakeSucceeded".to_owned(),
            message: String::new(),
            server_info: Some(ServerInfo {
                name: "behalf-mcp-server".to_owned(),
                version: "0.1.0".to_owned(),
                protocol_version: "2025-11-25".to_owned(),
                tools: 4,
            }),
            is_stateful: false,
            observed_at: Some(time(50)),
        },
        tenant: Some(TenantReport {
            outcome: Outcome::Verified,
            reason: "SameTenant".to_owned(),
            message: "Something was seen.".to_owned(),
            observed_at: time(50),
        }),
        sign_in: Some(SignInReport {
            outcome: Outcome::Verified,
            reason: "SignedIn".to_owned(),
            message: "Something was seen.".to_owned(),
            correlation_id: None,
            observed_at: Some(time(50)),
        }),
        sessions: SessionsReport {
            store: StoreKind::Memory,
            reachable: Some(true),
            eviction_policy: None,
        },
    }
}
