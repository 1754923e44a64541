//! Compares docs/aks-policies.md with the Pods of the examples.
//!
//! The checks are this project's reading of the definitions in github.com/Azure/azure-policy, folder
//! built-in-policies/policyDefinitions/Kubernetes.

use k8s_openapi::api::core::v1::SecurityContext;

use super::*;
use crate::api::v1alpha1::McpServer;

const PAGE: &str = include_str!("../../../../../docs/aks-policies.md");

/// The policies of the page, and what it says of the Pods.
fn rows() -> Vec<(&'static str, &'static str)> {
    let table = PAGE.lines().filter(|line| line.starts_with("| `"));
    let cells = table.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|row| (row[1].trim_matches('`'), row[3])).collect()
}

/// Whether a Pod meets a policy, or `None` for a policy without a check.
fn meets(policy: &str, pod: &PodSpec) -> Option<bool> {
    let containers = containers(pod);
    let contexts: Vec<SecurityContext> = containers
        .iter()
        .map(|container| container.security_context.clone().unwrap())
        .collect();
    let group = |id: i64| (1..=65535).contains(&id);
    let context = pod.security_context.clone().unwrap();
    Some(match policy {
        "NoPrivilegedContainers" => contexts.iter().all(|one| one.privileged != Some(true)),
        "NoPrivilegeEscalation" => contexts
            .iter()
            .all(|one| one.allow_privilege_escalation == Some(false)),
        "BlockUsingHostNetwork" => {
            pod.host_network != Some(true)
                && containers
                    .iter()
                    .flat_map(|one| one.ports.iter().flatten())
                    .all(|port| port.host_port.is_none())
        }
        "BlockUsingHostProcessIDAndIPC" => pod.host_pid != Some(true) && pod.host_ipc != Some(true),
        "ContainerCapabilities" => contexts.iter().all(|one| {
            let capabilities = one.capabilities.clone().unwrap();
            capabilities.add.is_none() && capabilities.drop == Some(vec!["ALL".to_owned()])
        }),
        "AllowedVolumeTypes" => pod.volumes.iter().flatten().all(|volume| {
            volume.config_map.is_some()
                || volume.empty_dir.is_some()
                || volume.projected.is_some()
                || volume.secret.is_some()
        }),
        // MustRunAs refuses a field that is missing, not only one that is out of range.
        "AllowedUsersGroups" => {
            let supplemental = context.supplemental_groups.unwrap_or_default();
            contexts.iter().all(|one| {
                one.run_as_user.is_some_and(|user| user != 0) && one.run_as_group.is_some_and(group)
            }) && context.fs_group.is_some_and(group)
                && !supplemental.is_empty()
                && supplemental.into_iter().all(group)
        }
        "AllowedSeccompProfiles" => contexts.iter().all(|one| {
            let profile = one.seccomp_profile.as_ref();
            profile.is_some_and(|profile| profile.type_ == "RuntimeDefault")
        }),
        "ContainerResourceLimits" => containers.iter().all(|one| {
            let limits = one.resources.clone().unwrap().limits.unwrap();
            limits.contains_key("cpu") && limits.contains_key("memory")
        }),
        "ContainerEnforceProbes" => containers
            .iter()
            .all(|one| one.readiness_probe.is_some() && one.liveness_probe.is_some()),
        "ReadOnlyRootFileSystem" => contexts
            .iter()
            .all(|one| one.read_only_root_filesystem == Some(true)),
        "BlockAutomountToken" => pod.automount_service_account_token == Some(false),
        "ContainerAllowedImages" => containers.iter().all(|one| {
            let image = one.image.as_deref().unwrap();
            image.starts_with("registry.contoso.example/") && !image.ends_with(":latest")
        }),
        _ => return None,
    })
}

#[test]
fn the_page_on_azure_policy_says_what_the_pods_meet() {
    let redis = quickstart_with(redis(json!({})));
    let servers: [McpServer; 4] = [server(QUICKSTART), server(ARTICLE), server(CONTAINER), redis];
    let rows = rows();
    assert_eq!(rows.len(), 13, "{rows:?}");
    for server in servers {
        let pod = pod(&children(&server).deployment);
        for (policy, says) in &rows {
            let meets = meets(policy, &pod).unwrap_or_else(|| panic!("{policy} has no check"));
            let expected = match *says {
                "meets, but for `server.container`" => server.spec.server.container.is_none(),
                says => says == "meets",
            };
            assert_eq!(meets, expected, "{policy} of {}", server.name_any());
        }
    }
}

#[test]
fn the_resources_of_the_page_on_azure_policy_are_all_that_is_missing() {
    let (_, block) = PAGE.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let object: Value = serde_yaml::from_str(block).unwrap();
    let server = quickstart_with(object["spec"].clone());
    let pod = pod(&children(&server).deployment);
    for (policy, _) in rows() {
        assert_eq!(meets(policy, &pod), Some(true), "{policy}");
    }
}
