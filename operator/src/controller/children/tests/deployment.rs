//! Tests the Pods of the Deployment: their rights, volumes and settings.

use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::api::v1alpha1::McpServer;

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
fn only_the_sidecar_reads_the_credentials_of_the_store() {
    let pod = pod(&children(&quickstart_with(redis(json!({})))).deployment);
    let mounts = containers(&pod).map(|container| {
        let mounts = container.volume_mounts.unwrap();
        mounts.into_iter().find(|mount| mount.name == "store-credentials")
    });
    let [Some(sidecar), None] = mounts else {
        panic!("{mounts:?}")
    };
    assert_eq!(sidecar.read_only, Some(true));
    // A mounted file would never change, a directory does.
    assert_eq!((sidecar.sub_path, sidecar.sub_path_expr), (None, None));
    let volumes = pod.volumes.unwrap();
    let volume = volumes.iter().find(|volume| volume.name == "store-credentials");
    let expected = json!({
        "secretName": "redis-behalf-store", "defaultMode": 0o440,
        "items": [{"key": "username", "path": "username"}, {"key": "password", "path": "password"}],
    });
    assert_eq!(
        serde_json::to_value(volume.unwrap().secret.as_ref()).unwrap(),
        expected
    );
}

#[test]
fn pods_that_share_their_sessions_are_replaced_one_by_one_and_others_at_once() {
    let strategy = |server: &McpServer| {
        let spec = children(server).deployment.spec.unwrap();
        (spec.replicas, serde_json::to_value(spec.strategy).unwrap())
    };
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    assert_eq!(
        strategy(&server(QUICKSTART)),
        (Some(1), json!({"type": "Recreate"}))
    );
    assert_eq!(strategy(&quickstart_with(redis(json!({})))), (Some(2), rolling));
}

/// The constraints of an object with a Redis and these constraints in its spec.
fn topology_spread(constraints: &Value) -> Value {
    let mut fields = redis(json!({}));
    fields["pod"] = json!({"topologySpreadConstraints": constraints});
    let pod = pod(&children(&quickstart_with(fields)).deployment);
    serde_json::to_value(pod.topology_spread_constraints).unwrap()
}

#[test]
fn pods_are_spread_over_zones_and_nodes_unless_the_spec_says_otherwise() {
    let selector = json!({"matchLabels": {(names::SERVER_LABEL): "azure-devops"}});
    let constraint = |key: &str, unsatisfiable: &str| {
        json!({
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": unsatisfiable, "labelSelector": selector,
            "matchLabelKeys": ["pod-template-hash"],
        })
    };
    let default = constraint("topology.kubernetes.io/zone", "ScheduleAnyway");
    assert_eq!(topology_spread(&json!([])), json!([default]));
    let memory = pod(&children(&server(QUICKSTART)).deployment);
    assert_eq!(memory.topology_spread_constraints, None, "one Pod");

    let strict = json!({"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"});
    assert_eq!(
        topology_spread(&json!([strict])),
        json!([constraint("rack", "DoNotSchedule")])
    );
    let mut own = strict;
    own["labelSelector"] = json!({"matchLabels": {"team": "shop"}});
    assert_eq!(topology_spread(&json!([own])), json!([own]), "as it is");
}

/// The scheduler ignores all preferred spread constraints on a node that lacks the label of one, such as that of a zone.
#[test]
fn pods_prefer_different_nodes_also_in_a_cluster_without_zones() {
    let affinity = |settings: Value| {
        let mut fields = redis(json!({}));
        fields["pod"] = settings;
        let pod = pod(&children(&quickstart_with(fields)).deployment);
        serde_json::to_value(pod.affinity).unwrap()
    };
    let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
        "labelSelector": {"matchLabels": {(names::SERVER_LABEL): "azure-devops"}},
        "matchLabelKeys": ["pod-template-hash"], "topologyKey": "kubernetes.io/hostname",
    }}]});
    assert_eq!(affinity(json!({})), json!({"podAntiAffinity": preferred}));
    let memory = pod(&children(&server(QUICKSTART)).deployment);
    assert_eq!(memory.affinity, None, "one Pod");

    let nodes = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool", "operator": "Exists"}]},
    ]}});
    let chosen = affinity(json!({"affinity": {"nodeAffinity": nodes}}));
    assert_eq!(
        chosen,
        json!({"nodeAffinity": nodes, "podAntiAffinity": preferred})
    );
    let own = json!({"podAntiAffinity": {}});
    assert_eq!(affinity(json!({"affinity": own})), own, "as it is");
    let strict = json!({"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"});
    let constraints = json!({"topologySpreadConstraints": [strict]});
    assert_eq!(affinity(constraints), Value::Null, "the spec says it");
}

#[test]
fn only_the_sidecar_reaches_the_administration_socket() {
    for (_, manifest) in EXAMPLES {
        let pod = pod(&children(&server(manifest)).deployment);
        let [sidecar, server] = containers(&pod).map(|container| {
            let mounts = container.volume_mounts.unwrap().into_iter();
            mounts
                .filter(|mount| paths::ADMIN_SOCKET.starts_with(&mount.mount_path))
                .collect::<Vec<_>>()
        });
        assert_eq!((sidecar.len(), server.len()), (1, 0));
        let mounted: Vec<_> = containers(&pod)
            .into_iter()
            .flat_map(|container| container.volume_mounts.unwrap())
            .filter(|mount| mount.name == sidecar[0].name)
            .collect();
        assert_eq!(mounted.len(), 1, "no other path leads to the volume");
        let volume = pod
            .volumes
            .iter()
            .flatten()
            .find(|volume| volume.name == sidecar[0].name);
        assert!(volume.unwrap().empty_dir.is_some());
    }
}

#[test]
fn files_are_mounted_where_the_containers_look_for_them() {
    let with_authority = quickstart_with(json!({
        "entra": {"certificateAuthorityRef": {"name": "private-ca"}},
        "tokenExchange": {"at": "Server"},
        "sessions": redis(json!({"certificateAuthorityRef": {"name": "redis-ca"}}))["sessions"],
    }));
    let certificate_authority: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "private-ca"},
        "data": {"ca.crt": "-----BEGIN CERTIFICATE-----"},
    }))
    .unwrap();
    let found = crate::controller::dereference::cluster_state::ClusterState {
        certificate_authority: Some(certificate_authority.clone()),
        store_certificate_authority: Some(certificate_authority),
        ..crate::controller::dereference::cluster_state::ClusterState::default()
    };
    let plan = crate::testing::judge(&with_authority, &found).unwrap();
    let pod = pod(&build(&plan, None).unwrap().deployment);
    let expected = [
        vec![
            paths::SIDECAR_CONFIG,
            paths::REVOCATIONS,
            paths::KEYRING,
            paths::ADMIN_SOCKET,
            paths::HOST_KEY,
            paths::FEDERATED_TOKEN,
            paths::CERTIFICATE_AUTHORITY,
            paths::STORE_USERNAME,
            paths::STORE_PASSWORD,
            paths::STORE_CERTIFICATE_AUTHORITY,
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
fn an_edit_that_does_not_concern_the_pods_causes_no_rollout() {
    let before = children(&server(QUICKSTART));
    let after = children(&quickstart_with(json!({"network": {"policy": "Open"}})));
    assert_eq!(before.deployment, after.deployment);
    assert!(before.network_policy.is_some());
    assert!(after.network_policy.is_none());
}

#[rstest]
#[case::service_account(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}))]
#[case::log_level(json!({"sidecar": {"logLevel": "Trace"}}))]
#[case::environment(json!({"server": {"env": [{"name": "TZ", "value": "UTC"}]}}))]
#[case::resources(json!({"server": {"resources": {"limits": {"memory": "1Gi"}}}}))]
#[case::pod(json!({"pod": {"nodeSelector": {"pool": "mcp"}}}))]
fn pods_from_before_and_after_an_edit_have_different_templates(#[case] patch: serde_json::Value) {
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
fn a_keyring_of_another_tool_is_mounted_from_its_key_and_none_is_made() {
    let keys =
        json!({"type": "Secret", "secret": {"secretRef": {"name": "vault-behalf-keys", "key": "current"}}});
    let children = children(&quickstart_with(json!({"keys": keys})));
    let volumes = pod(&children.deployment).volumes.unwrap();
    let volume = volumes.iter().find(|volume| volume.name == "keyring").unwrap();
    let expected = json!({
        "secretName": "vault-behalf-keys", "defaultMode": 0o440,
        "items": [{"key": "current", "path": "keyring.json"}],
    });
    assert_eq!(serde_json::to_value(volume.secret.as_ref()).unwrap(), expected);
}
