//! Tests the children that are built for an object.

use behalf_contract::{ServerConfig, SidecarConfig, paths};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use kube::ResourceExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{ARTICLE, EXAMPLES, QUICKSTART, children, plan, quickstart_with, server};

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

#[test]
fn children_of_the_examples_are_as_reviewed() {
    for (name, manifest) in EXAMPLES {
        let Children {
            service_account,
            keyring,
            config_map,
            network_policy,
            service,
            deployment,
            state: _,
        } = children(&server(manifest));
        let mut golden = insta::Settings::clone_current();
        golden.set_prepend_module_to_snapshot(false);
        golden.set_omit_expression(true);
        golden.bind(|| {
            insta::assert_yaml_snapshot!(format!("{name}.service_account"), service_account);
            insta::assert_yaml_snapshot!(format!("{name}.keyring"), keyring);
            insta::assert_yaml_snapshot!(format!("{name}.config_map"), config_map);
            insta::assert_yaml_snapshot!(format!("{name}.network_policy"), network_policy);
            insta::assert_yaml_snapshot!(format!("{name}.service"), service);
            insta::assert_yaml_snapshot!(format!("{name}.deployment"), deployment);
        });
    }
}

#[rstest]
#[case::exchange_in_the_sidecar(QUICKSTART, [true, false])]
#[case::exchange_in_the_server(ARTICLE, [true, true])]
fn only_who_exchanges_or_signs_in_holds_a_federated_token(
    #[case] manifest: &str,
    #[case] expected: [bool; 2],
) {
    let pod = pod(&children(&server(manifest)).deployment);
    for (container, expected) in containers(&pod).iter().zip(expected) {
        assert_eq!(
            has_federated_token(&pod, container),
            expected,
            "volume of {}",
            container.name
        );
        let named = container
            .env
            .iter()
            .flatten()
            .any(|variable| variable.name == paths::FEDERATED_TOKEN_VARIABLE);
        assert_eq!(named, expected, "variable of {}", container.name);
    }
}

#[test]
fn two_containers_never_share_a_token_volume() {
    let pod = pod(&children(&server(ARTICLE)).deployment);
    let tokens: Vec<&str> = pod
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.projected.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    for token in &tokens {
        let readers = containers(&pod)
            .iter()
            .filter(|container| {
                container
                    .volume_mounts
                    .iter()
                    .flatten()
                    .any(|mount| mount.name == *token)
            })
            .count();
        assert_eq!(readers, 1, "{token}");
    }
    assert_eq!(tokens.len(), 2);
}

#[test]
fn no_token_of_the_api_server_is_mounted() {
    for (_, manifest) in EXAMPLES {
        let children = children(&server(manifest));
        assert_eq!(
            children.service_account.unwrap().automount_service_account_token,
            Some(false)
        );
        let pod = pod(&children.deployment);
        assert_eq!(pod.automount_service_account_token, Some(false));
        for volume in pod
            .volumes
            .iter()
            .flatten()
            .filter_map(|volume| volume.projected.as_ref())
        {
            for source in volume.sources.iter().flatten() {
                let token = source.service_account_token.as_ref().unwrap();
                assert_eq!(token.audience.as_deref(), Some("api://AzureADTokenExchange"));
            }
        }
    }
}

#[test]
fn every_container_meets_the_restricted_profile() {
    for (_, manifest) in EXAMPLES {
        let pod = pod(&children(&server(manifest)).deployment);
        for field in [
            pod.host_network,
            pod.host_pid,
            pod.host_ipc,
            pod.share_process_namespace,
        ] {
            assert_ne!(field, Some(true));
        }
        let mut users = Vec::new();
        for container in containers(&pod) {
            let context = container.security_context.unwrap();
            assert_eq!(context.run_as_non_root, Some(true));
            assert_eq!(context.allow_privilege_escalation, Some(false));
            assert_eq!(context.read_only_root_filesystem, Some(true));
            assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
            users.push(context.run_as_user.unwrap());
        }
        assert_ne!(users[0], users[1], "one user could read the other's token");
        assert!(!users.contains(&0));
    }
}

#[test]
fn only_the_sidecar_writes_the_host_key_and_reads_the_keyring() {
    let pod = pod(&children(&server(ARTICLE)).deployment);
    let [sidecar, server] = containers(&pod);
    let mount = |container: &Container, name: &str| {
        container
            .volume_mounts
            .clone()
            .unwrap()
            .into_iter()
            .find(|mount| mount.name == name)
    };
    assert_ne!(mount(&sidecar, "host-key").unwrap().read_only, Some(true));
    assert_eq!(mount(&server, "host-key").unwrap().read_only, Some(true));
    assert!(mount(&sidecar, "keyring").is_some());
    assert!(mount(&server, "keyring").is_none());
    let volume = pod
        .volumes
        .iter()
        .flatten()
        .find(|volume| volume.name == "host-key")
        .unwrap();
    assert_eq!(
        volume.empty_dir.as_ref().unwrap().medium.as_deref(),
        Some("Memory")
    );
}

#[test]
fn files_are_mounted_where_the_containers_look_for_them() {
    let with_authority = quickstart_with(json!({
        "entra": {"certificateAuthorityRef": {"name": "private-ca"}},
        "tokenExchange": {"at": "Server"},
    }));
    let certificate_authority = serde_json::from_value(json!({
        "metadata": {"name": "private-ca"},
        "data": {"ca.crt": "-----BEGIN CERTIFICATE-----"},
    }));
    let found = crate::controller::dereference::dereferenced::Found {
        certificate_authority: Some(certificate_authority.unwrap()),
        ..crate::controller::dereference::dereferenced::Found::default()
    };
    let plan = crate::testing::judge(&with_authority, &found).unwrap();
    let pod = pod(&build(&plan, None).unwrap().deployment);
    let expected = [
        vec![
            paths::SIDECAR_CONFIG,
            paths::KEYRING,
            paths::HOST_KEY,
            paths::FEDERATED_TOKEN,
            paths::CERTIFICATE_AUTHORITY,
        ],
        vec![
            paths::SERVER_CONFIG,
            paths::HOST_KEY,
            paths::FEDERATED_TOKEN,
            paths::CERTIFICATE_AUTHORITY,
        ],
    ];
    for (container, files) in containers(&pod).iter().zip(expected) {
        for file in files {
            let (directory, name) = file.rsplit_once('/').unwrap();
            let mount = container
                .volume_mounts
                .iter()
                .flatten()
                .find(|mount| mount.mount_path == directory)
                .unwrap();
            let volume = pod
                .volumes
                .iter()
                .flatten()
                .find(|volume| volume.name == mount.name)
                .unwrap();
            let text = serde_json::to_string(volume).unwrap();
            assert!(
                volume.empty_dir.is_some() || text.contains(&format!("\"path\":\"{name}\"")),
                "{file}: {text}"
            );
        }
    }
}

#[test]
fn the_files_read_back_as_what_was_planned() {
    for (_, manifest) in EXAMPLES {
        let plan = plan(&server(manifest));
        let configuration = Configuration::render(&plan).unwrap();
        let sidecar: SidecarConfig = serde_yaml::from_str(&configuration.sidecar).unwrap();
        let server: ServerConfig = serde_yaml::from_str(&configuration.server).unwrap();
        assert_eq!(sidecar.object, plan.object);
        assert_eq!(sidecar.token_exchange, plan.token_exchange);
        assert_eq!(server.azure_dev_ops, plan.azure_dev_ops);
        assert_eq!(
            server.entra.is_some(),
            plan.token_exchange.at == behalf_contract::ExchangePlace::Server
        );
    }
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
    let server: ServerConfig = serde_yaml::from_str(&configuration.server).unwrap();
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
fn each_container_is_told_the_digest_of_exactly_its_own_file() {
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
fn what_does_not_concern_the_pods_causes_no_rollout() {
    let before = children(&server(QUICKSTART));
    let after = children(&quickstart_with(json!({"network": {"policy": "Open"}})));
    assert_eq!(before.deployment, after.deployment);
    assert!(before.network_policy.is_some());
    assert!(after.network_policy.is_none());
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

#[rstest]
#[case::service_account(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}))]
#[case::log_level(json!({"sidecar": {"logLevel": "Trace"}}))]
#[case::environment(json!({"server": {"env": [{"name": "TZ", "value": "UTC"}]}}))]
#[case::resources(json!({"server": {"resources": {"limits": {"memory": "1Gi"}}}}))]
#[case::pod(json!({"pod": {"nodeSelector": {"pool": "mcp"}}}))]
fn pods_of_before_and_after_any_edit_can_be_told_apart(#[case] patch: serde_json::Value) {
    let template = |deployment: &Deployment| {
        let on_pod = deployment.spec.clone().unwrap().template.metadata.unwrap();
        let on_pod = on_pod.annotations.unwrap()[names::TEMPLATE_ANNOTATION].clone();
        assert_eq!(deployment.annotations()[names::TEMPLATE_ANNOTATION], on_pod);
        on_pod
    };
    let (before, after) = (children(&server(QUICKSTART)), children(&quickstart_with(patch)));
    assert_eq!(before.config_map, after.config_map, "the files are the same");
    assert_ne!(template(&before.deployment), template(&after.deployment));
}

#[test]
fn suspending_stops_the_pods_and_nothing_else() {
    let before = children(&server(QUICKSTART));
    let after = children(&quickstart_with(json!({"suspend": true})));
    assert_eq!(after.deployment.spec.as_ref().unwrap().replicas, Some(0));
    assert_eq!(
        before.deployment.spec.unwrap().template,
        after.deployment.spec.unwrap().template
    );
    assert_eq!(before.service, after.service);
}

#[test]
fn users_settings_reach_the_pod_and_cannot_replace_ours() {
    let server = quickstart_with(json!({
        "pod": {
            "labels": {"team": "shop"},
            "annotations": {"note": "n"},
            "nodeSelector": {"pool": "mcp"},
            "priorityClassName": "high",
            "terminationGracePeriodSeconds": 90,
        },
        "sidecar": {"logLevel": "Trace"},
        "server": {"env": [{"name": "TZ", "value": "UTC"}], "azureDevOps": {"logLevel": "Debug"}},
    }));
    let deployment = children(&server).deployment;
    let metadata = deployment
        .spec
        .as_ref()
        .unwrap()
        .template
        .metadata
        .clone()
        .unwrap();
    assert_eq!(metadata.labels.as_ref().unwrap()["team"], "shop");
    assert_eq!(
        metadata.labels.as_ref().unwrap()[names::SERVER_LABEL],
        "azure-devops"
    );
    assert_eq!(metadata.annotations.as_ref().unwrap()["note"], "n");
    let pod = pod(&deployment);
    assert_eq!(pod.node_selector.as_ref().unwrap()["pool"], "mcp");
    assert_eq!(pod.priority_class_name.as_deref(), Some("high"));
    assert_eq!(pod.termination_grace_period_seconds, Some(90));
    let [sidecar, server] = containers(&pod);
    let value = |container: &Container, name: &str| {
        container
            .env
            .clone()
            .unwrap()
            .into_iter()
            .find(|variable| variable.name == name)
            .and_then(|found| found.value)
    };
    assert_eq!(value(&sidecar, "BEHALF_LOG").as_deref(), Some("Trace"));
    assert_eq!(value(&sidecar, "TZ"), None);
    assert_eq!(value(&server, "BEHALF_LOG").as_deref(), Some("Debug"));
    assert_eq!(value(&server, "TZ").as_deref(), Some("UTC"));
}

#[test]
fn the_network_policy_opens_the_ports_of_every_endpoint_and_no_metadata_service() {
    let server = quickstart_with(json!({
        "entra": {"authority": "https://entra.test.example:8443"},
        "network": {"ingressFrom": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]},
    }));
    let policy = serde_json::to_value(children(&server).network_policy.unwrap().spec.unwrap()).unwrap();
    let ports: Vec<_> = policy["egress"][1]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["port"].clone())
        .collect();
    assert_eq!(ports, [json!(443), json!(8443)]);
    let except = |peer: usize| policy["egress"][1]["to"][peer]["ipBlock"]["except"].clone();
    assert_eq!(
        except(0),
        json!(["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"])
    );
    assert_eq!(
        except(1),
        json!(["fd00:ec2::/32", "fd20:ce::254/128", "fe80::/10"])
    );
    assert_eq!(
        policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["app"],
        "gateway"
    );
    let operator = &policy["ingress"][1]["from"][0];
    assert_eq!(
        operator["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
        "behalf-system"
    );
    assert!(
        operator["podSelector"].is_object(),
        "not every Pod of that namespace"
    );
}

/// The spec of the network policy of the quickstart with these fields.
fn policy(patch: Value) -> Value {
    let children = children(&quickstart_with(patch));
    serde_json::to_value(children.network_policy.unwrap().spec.unwrap()).unwrap()
}

/// The egress rules without the one for DNS.
fn egress(patch: Value) -> Vec<Value> {
    let rules = policy(patch)["egress"].as_array().unwrap().clone();
    rules[1..].to_vec()
}

#[test]
fn a_pod_of_the_cluster_is_reachable_only_where_a_host_of_the_spec_is_a_service() {
    let selectors = |rules: &[Value]| {
        rules
            .iter()
            .filter(|rule| rule.to_string().contains("namespaceSelector"))
            .count()
    };
    assert_eq!(selectors(&egress(json!({}))), 0);
    let mut plan = crate::testing::plan(&server(QUICKSTART));
    for host in [
        "https://entra.identity.svc:8443",
        "https://entra.identity.svc.cluster.local:8443",
    ] {
        plan.entra.authority = host.parse().unwrap();
        let policy = build(&plan, None).unwrap().network_policy.unwrap().spec.unwrap();
        let rules = serde_json::to_value(policy.egress.unwrap()).unwrap();
        let service = json!({
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "identity"}}}],
            "ports": [{"protocol": "TCP", "port": 8443}],
        });
        assert_eq!(rules[2], service);
        assert_eq!(rules[1]["ports"], json!([{"protocol": "TCP", "port": 443}]));
    }
}

#[test]
fn without_internet_only_dns_and_what_the_spec_allows_is_reachable() {
    let proxy =
        json!({"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 3128}]});
    let network = |allow: Value| json!({"network": {"egress": {"internet": "Disabled", "allow": allow}}});
    assert_eq!(egress(network(json!([]))), Vec::<Value>::new());
    assert_eq!(egress(network(json!([proxy]))), [proxy]);
}

#[test]
fn port_9090_is_open_to_the_operator_and_to_those_who_may_scrape_it() {
    let prometheus =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    let peers = |patch: Value| policy(patch)["ingress"][1]["from"].as_array().unwrap().clone();
    assert_eq!(peers(json!({})).len(), 1);
    let peers = peers(json!({"network": {"metricsFrom": [prometheus]}}));
    assert_eq!(peers.len(), 2);
    assert_eq!(peers[1], prometheus);

    // Outside a cluster no operator connects to the Pods, and a rule without peers would admit all traffic.
    let mut plan = crate::testing::plan(&server(QUICKSTART));
    plan.operator_namespace = None;
    let policy = build(&plan, None).unwrap().network_policy.unwrap().spec.unwrap();
    assert_eq!(policy.ingress.unwrap().len(), 1);
}

#[test]
fn pods_run_on_linux_whatever_the_spec_selects() {
    for selector in [
        json!({}),
        json!({"pool": "mcp"}),
        json!({"kubernetes.io/os": "windows"}),
    ] {
        let children = children(&quickstart_with(json!({"pod": {"nodeSelector": selector}})));
        let selector = pod(&children.deployment).node_selector.unwrap();
        assert_eq!(selector["kubernetes.io/os"], "linux");
    }
}

#[test]
fn every_child_is_owned_labelled_and_named_within_limits() {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some("a".repeat(crate::api::crd::NAME_LENGTH));
    let children = children(&server);
    let metadata = [
        &children.service_account.unwrap().metadata,
        &children.keyring.unwrap().metadata,
        &children.config_map.metadata,
        &children.network_policy.unwrap().metadata,
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
