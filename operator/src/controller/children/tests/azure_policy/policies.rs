//! The policies of docs/aks-policies.md, and whether a Pod meets them. The suite of charts compiles this file, too.
//!
//! The checks are this project's reading of the definitions in github.com/Azure/azure-policy, folder
//! built-in-policies/policyDefinitions/Kubernetes.

use k8s_openapi::api::core::v1::{Container, PodSpec, SecurityContext};

const PAGE: &str = include_str!("../../../../../../docs/aks-policies.md");

/// The policies of the page, and what a column says of each.
pub(crate) fn rows(column: &str) -> Vec<(&'static str, &'static str)> {
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let mut table = PAGE.lines().filter(|line| line.starts_with("| "));
    let head = table
        .by_ref()
        .map(cells)
        .find(|head| head[1] == "Policy")
        .unwrap();
    let column = head.iter().position(|name| *name == column).unwrap();
    let rows = table.map(cells).filter(|row| row[1].starts_with('`'));
    let rows: Vec<_> = rows.map(|row| (row[1].trim_matches('`'), row[column])).collect();
    assert_eq!(rows.len(), 13, "{rows:?}");
    rows
}

/// Whether a Pod meets a policy. Panics at a policy without a check.
pub(crate) fn meets(policy: &str, pod: &PodSpec) -> bool {
    let containers: Vec<&Container> = pod
        .init_containers
        .iter()
        .flatten()
        .chain(&pod.containers)
        .collect();
    assert!(!containers.is_empty());
    let contexts: Vec<SecurityContext> = containers
        .iter()
        .map(|container| container.security_context.clone().unwrap())
        .collect();
    let group = |id: i64| (1..=65535).contains(&id);
    let context = pod.security_context.clone().unwrap();
    match policy {
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
        _ => panic!("{policy} has no check"),
    }
}

/// The resources that the page tells to set.
pub(crate) fn resources() -> serde_json::Value {
    let (_, block) = PAGE.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let object: serde_json::Value = serde_yaml::from_str(block).unwrap();
    object["spec"].clone()
}
