//! Tests the children that are built for an object.

mod azure_policy;
mod container;
mod deployment;
mod destinations;
mod everything;
mod labels;
mod network_policy;
mod rendered;

use behalf_contract::{EgressProxy, ServerConfig, SidecarConfig, paths};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use kube::ResourceExt as _;
use rstest::rstest;
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::controller::plan::ServerPlan;
use crate::testing::{
    ARTICLE, CONTAINER, EXAMPLES, QUICKSTART, ROUTE, children, fresh, plan, quickstart_with, redis,
    revocations, server,
};

fn pod(deployment: &Deployment) -> PodSpec {
    deployment.spec.clone().unwrap().template.spec.unwrap()
}

/// Both containers, the sidecar first.
fn containers(pod: &PodSpec) -> [Container; 2] {
    let sidecar = pod.init_containers.clone().unwrap();
    assert_eq!((sidecar.len(), pod.containers.len()), (1, 1));
    [sidecar[0].clone(), pod.containers[0].clone()]
}

fn has_federated_token(pod: &PodSpec, container: &Container) -> bool {
    let projects_token = |volume: &Volume| volume.projected.is_some();
    let mounted: Vec<&str> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| mount.name.as_str())
        .collect();
    pod.volumes
        .iter()
        .flatten()
        .any(|volume| projects_token(volume) && mounted.contains(&volume.name.as_str()))
}

/// The objects whose children are in the golden files. They are boxed, because all of them would take much of a stack.
fn golden_inputs() -> [(&'static str, Box<McpServer>); 7] {
    [
        ("quickstart", Box::new(server(QUICKSTART))),
        ("article", Box::new(server(ARTICLE))),
        ("redis", Box::new(quickstart_with(redis(json!({}))))),
        ("container", Box::new(server(CONTAINER))),
        ("route", Box::new(server(ROUTE))),
        ("everything", Box::new(server(everything::AZURE_DEVOPS))),
        ("everything-container", Box::new(server(everything::CONTAINER))),
    ]
}

/// Compares a child with its golden file.
fn compare(input: &str, kind: &str, child: &impl Serialize) {
    let mut golden = insta::Settings::clone_current();
    golden.set_prepend_module_to_snapshot(false);
    golden.set_omit_expression(true);
    golden.bind(|| insta::assert_yaml_snapshot!(format!("{input}.{kind}"), child));
}

/// Compares a child that not every object has. Returns its kind if there is one.
fn compare_optional<'a>(input: &str, kind: &'a str, child: Option<&impl Serialize>) -> Option<&'a str> {
    compare(input, kind, child?);
    Some(kind)
}

#[test]
fn children_of_the_examples_are_as_reviewed() {
    for (name, server) in golden_inputs() {
        let Children {
            service_account,
            keyring,
            config_map,
            network_policy,
            pod_disruption_budget,
            http_route,
            service,
            deployment,
            state: _,
        } = everything::children(&server);
        if name == "route" {
            // Its other children are those of the quickstart.
            compare(name, "http_route", &http_route.unwrap());
            continue;
        }
        let optional: Vec<&str> = [
            compare_optional(name, "service_account", service_account.as_ref()),
            compare_optional(name, "keyring", keyring.as_ref()),
            compare_optional(name, "network_policy", network_policy.as_ref()),
            compare_optional(name, "pod_disruption_budget", pod_disruption_budget.as_ref()),
            compare_optional(name, "http_route", http_route.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let expected: &[&str] = match name {
            "redis" => &[
                "service_account",
                "keyring",
                "network_policy",
                "pod_disruption_budget",
            ],
            "everything" => &["network_policy", "pod_disruption_budget", "http_route"],
            "everything-container" => &["service_account", "keyring", "pod_disruption_budget"],
            _ => &["service_account", "keyring", "network_policy"],
        };
        assert_eq!(optional, expected, "{name}");
        compare(name, "config_map", &config_map);
        compare(name, "revocations", &revocations(&server));
        compare(name, "service", &service);
        compare(name, "deployment", &deployment);
    }
}

#[test]
fn the_files_contain_the_plan() {
    for (_, manifest) in EXAMPLES {
        let plan = plan(&server(manifest));
        let configuration = Configuration::render(&plan).unwrap();
        let sidecar: SidecarConfig = serde_yaml::from_str(&configuration.sidecar).unwrap();
        let server: ServerConfig = serde_yaml::from_str(&configuration.server.unwrap()).unwrap();
        let ServerPlan::AzureDevOps(azure_dev_ops) = plan.kind else {
            panic!("{:?}", plan.kind)
        };
        assert_eq!(sidecar.object, plan.object);
        assert_eq!(sidecar.token_exchange, plan.token_exchange);
        assert_eq!(server.azure_dev_ops, azure_dev_ops);
        assert_eq!(
            server.entra.is_some(),
            plan.token_exchange.at == behalf_contract::ExchangePlace::Server
        );
    }
}

fn egress_proxy(address: &str) -> EgressProxy {
    EgressProxy {
        https: address.parse().unwrap(),
        no_proxy: vec!["corp.example".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
    }
}

#[test]
fn both_programs_of_a_pod_use_the_proxy_of_the_installation() {
    let mut plan = plan(&server(QUICKSTART));
    let proxy = egress_proxy("http://proxy.corp.example:3128");
    plan.egress_proxy = Some(proxy.clone());
    let configuration = Configuration::render(&plan).unwrap();
    let sidecar: SidecarConfig = serde_yaml::from_str(&configuration.sidecar).unwrap();
    let server: ServerConfig = serde_yaml::from_str(&configuration.server.unwrap()).unwrap();
    assert_eq!(sidecar.egress_proxy.as_ref(), Some(&proxy));
    assert_eq!(server.egress_proxy.as_ref(), Some(&proxy));
}

#[test]
fn both_programs_of_a_pod_send_traces_to_the_collector() {
    let server = quickstart_with(json!({"tracing": {"endpoint": "http://otel.obs.svc:4318"}}));
    let plan = plan(&server);
    let configuration = Configuration::render(&plan).unwrap();
    let sidecar: SidecarConfig = serde_yaml::from_str(&configuration.sidecar).unwrap();
    let server: ServerConfig = serde_yaml::from_str(&configuration.server.unwrap()).unwrap();
    assert!(plan.tracing.is_some());
    assert_eq!(sidecar.tracing, plan.tracing);
    assert_eq!(server.tracing, plan.tracing);
}

#[rstest]
#[case::computed(Value::Null, "access_as_user")]
#[case::all_that_was_consented_to(json!("api://behalf/.default"), "access_as_user")]
#[case::named(json!("api://behalf/mcp.use"), "mcp.use")]
fn a_server_that_exchanges_asks_for_the_scope_that_users_sign_in_with(
    #[case] scope: Value,
    #[case] required: &str,
) {
    let server = quickstart_with(json!({"entra": {"scope": scope}, "tokenExchange": {"at": "Server"}}));
    let configuration = Configuration::render(&plan(&server)).unwrap();
    let sidecar: SidecarConfig = serde_yaml::from_str(&configuration.sidecar).unwrap();
    let server: ServerConfig = serde_yaml::from_str(&configuration.server.unwrap()).unwrap();
    let entra = server.entra.unwrap();
    assert_eq!(entra.scope, sidecar.entra.scope);
    assert_eq!(entra.required_scope(), required);
}

#[test]
fn another_configuration_is_another_config_map_and_a_rollout() {
    let before = children(&server(QUICKSTART));
    let after = children(&quickstart_with(
        json!({"server": {"azureDevOps": {"readOnly": true}}}),
    ));
    assert_ne!(before.config_map.name_any(), after.config_map.name_any());
    assert_ne!(
        before.deployment.spec.unwrap().template,
        after.deployment.spec.unwrap().template
    );
}

#[test]
fn a_revocation_changes_its_own_file_and_rolls_no_pod() {
    let before = server(QUICKSTART);
    let after = quickstart_with(json!({"sessions": {"revocations": {
        "before": "2026-01-02T03:04:05+01:00",
        "users": [{"id": "AAAAAAAA-0000-4000-8000-000000000001", "before": "2026-02-03T04:05:06Z"}],
    }}}));
    let file = |server: &McpServer| revocations(server).data.unwrap()["revocations.json"].0.clone();
    assert_eq!(file(&before), br#"{"users":[]}"#);
    assert_eq!(
        file(&after),
        br#"{"before":"2026-01-02T02:04:05Z","users":[{"id":"aaaaaaaa-0000-4000-8000-000000000001","before":"2026-02-03T04:05:06Z"}]}"#
    );
    let [before, after] = [before, after].map(|server| children(&server));
    assert_eq!(before.deployment, after.deployment);
    assert_eq!(before.config_map, after.config_map);
}

#[test]
fn the_sidecar_alone_reads_the_directory_of_the_revocations() {
    let children = children(&server(ARTICLE));
    let pod = pod(&children.deployment);
    let volume = pod
        .volumes
        .iter()
        .flatten()
        .find(|volume| volume.name == "revocations");
    let source = volume.unwrap().secret.clone().unwrap();
    // A missing file is a fault: with an optional one the sidecar could not tell it from no revocations.
    assert_eq!(
        (source.secret_name.unwrap(), source.optional),
        (revocations(&server(ARTICLE)).name_any(), None)
    );
    let [mounted, elsewhere] = containers(&pod).map(|container| {
        let mounts = container.volume_mounts.unwrap();
        mounts.into_iter().find(|mount| mount.name == "revocations")
    });
    let mounted = mounted.unwrap();
    assert_eq!(
        mounted.sub_path, None,
        "a single mounted file would never be renewed"
    );
    assert!(paths::REVOCATIONS.starts_with(&mounted.mount_path));
    assert!(elsewhere.is_none());
}

#[test]
fn each_container_gets_the_digest_of_its_own_file() {
    use sha2::{Digest as _, Sha256};
    for (_, manifest) in EXAMPLES {
        let children = children(&server(manifest));
        let data = children.config_map.data.unwrap();
        let pod = pod(&children.deployment);
        for (container, file) in containers(&pod).iter().zip(["sidecar.yaml", "server.yaml"]) {
            let expected = behalf_contract::digest::format_sha256(&Sha256::digest(&data[file]).into());
            let told: Vec<Option<&str>> = container
                .env
                .iter()
                .flatten()
                .filter(|variable| variable.name == "BEHALF_CONFIGURATION_DIGEST")
                .map(|variable| variable.value.as_deref())
                .collect();
            assert_eq!(told, [Some(expected.as_str())], "{}", container.name);
        }
    }
}

#[test]
fn a_keyring_is_built_only_from_fresh_keys_and_reads_back() {
    let plan = plan(&server(QUICKSTART));
    assert!(build(&plan, None).unwrap().keyring.is_none());
    let secret = children(&server(QUICKSTART)).keyring.unwrap();
    let keyring = behalf_contract::Keyring::parse(&secret.data.unwrap()[names::KEYRING_KEY].0).unwrap();
    assert_ne!(
        keyring.sessions.keys[0].material,
        keyring.clients.keys[0].material
    );
    assert_eq!(
        (keyring.sessions.sealing, keyring.clients.sealing),
        ("s00000001".to_owned(), "c00000001".to_owned())
    );
}

#[test]
fn a_given_service_account_is_used_and_not_built() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    let children = children(&server);
    assert!(children.service_account.is_none());
    assert_eq!(
        pod(&children.deployment).service_account_name.as_deref(),
        Some("shared")
    );
}

#[test]
fn every_child_is_owned_labelled_and_named_within_limits() {
    let mut server = quickstart_with(redis(json!({})));
    server.metadata.name = Some("a".repeat(crate::api::crd::NAME_LENGTH));
    let children = children(&server);
    let metadata = [
        &children.service_account.unwrap().metadata,
        &children.keyring.unwrap().metadata,
        &children.config_map.metadata,
        &revocations(&server).metadata,
        &children.network_policy.unwrap().metadata,
        &children.pod_disruption_budget.unwrap().metadata,
        &children.service.metadata,
        &children.deployment.metadata,
    ]
    .map(Clone::clone);
    for metadata in metadata {
        assert_eq!(names::controller_uid(&metadata), server.metadata.uid.as_deref());
        assert_eq!(
            metadata.labels.as_ref().unwrap()["app.kubernetes.io/managed-by"],
            "behalf-operator"
        );
        assert!(metadata.name.unwrap().len() <= 63);
    }
}

#[rstest]
#[case::sessions_in_memory(json!({}), false)]
#[case::two_by_default(redis(json!({})), true)]
#[case::one(json!({"replicas": 1}), false)]
#[case::two(json!({"replicas": 2}), true)]
#[case::suspended(json!({"replicas": 2, "suspend": true}), true)]
fn a_budget_protects_two_pods_and_does_not_block_the_drain_of_one(
    #[case] patch: Value,
    #[case] expected: bool,
) {
    let mut fields = patch;
    if fields.get("replicas").is_some() {
        fields["sessions"] = redis(json!({}))["sessions"].clone();
    }
    let budget = children(&quickstart_with(fields)).pod_disruption_budget;
    assert_eq!(budget.is_some(), expected);
}
