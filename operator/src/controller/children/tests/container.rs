//! Tests the children of an object with a server from an image of its own.

use super::*;
use crate::api::v1alpha1::McpServer;

/// The example with other fields of its container.
fn container_with(patch: Value) -> McpServer {
    let mut server = server(CONTAINER);
    let mut container = serde_json::to_value(server.spec.server.container.take()).unwrap();
    let Value::Object(fields) = patch else {
        panic!("not an object")
    };
    for (key, value) in fields {
        container[key] = value;
    }
    server.spec.server.container = Some(serde_json::from_value(container).unwrap());
    server
}

#[test]
fn the_container_has_nothing_but_its_image_its_directories_and_its_variables() {
    let mut server = container_with(json!({
        "command": ["/bin/orders"], "writablePaths": ["/tmp", "/home/orders/.cache"], "runAsUser": 1000,
    }));
    server.spec.server.env = serde_json::from_value(json!([{"name": "TZ", "value": "UTC"}])).unwrap();
    let pod = pod(&children(&server).deployment);
    let [sidecar, container] = containers(&pod);
    assert_eq!(
        container.image.as_deref(),
        Some("registry.contoso.example/mcp/orders:1.4.0")
    );
    assert_eq!(container.command, Some(vec!["/bin/orders".to_owned()]));
    assert_eq!(container.args.as_ref().map(Vec::len), Some(2));
    let names: Vec<_> = container
        .env
        .iter()
        .flatten()
        .map(|variable| &*variable.name)
        .collect();
    assert_eq!(names, ["TZ"]);
    assert!(!has_federated_token(&pod, &container));
    assert!(has_federated_token(&pod, &sidecar));
    let mounts = container.volume_mounts.unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| &*mount.mount_path).collect();
    assert_eq!(paths, ["/tmp", "/home/orders/.cache"]);
    for mount in &mounts {
        let volume = pod
            .volumes
            .iter()
            .flatten()
            .find(|volume| volume.name == mount.name);
        assert!(volume.unwrap().empty_dir.is_some(), "{}", mount.mount_path);
    }
}

#[rstest]
#[case::by_default(json!({}), "256Mi")]
#[case::by_the_object(json!({"writableSize": "2Gi"}), "2Gi")]
fn each_writable_directory_is_on_the_nodes_disk_and_has_a_maximum_size(
    #[case] mut container: Value,
    #[case] size: &str,
) {
    container["writablePaths"] = json!(["/tmp", "/cache"]);
    let pod = pod(&children(&container_with(container)).deployment);
    let sizes: Vec<_> = pod
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.name.starts_with("writable-"))
        .map(|volume| serde_json::to_value(&volume.empty_dir).unwrap())
        .collect();
    assert_eq!(sizes, [json!({"sizeLimit": size}), json!({"sizeLimit": size})]);
    let [_, container] = containers(&pod);
    let mounts = container.volume_mounts.unwrap();
    assert_ne!(mounts[0].name, mounts[1].name);
}

#[test]
fn the_container_meets_the_restricted_profile_with_a_user_of_its_own() {
    for user in [Value::Null, json!(1000)] {
        let pod = pod(&children(&container_with(json!({"runAsUser": user}))).deployment);
        let [sidecar, container] = containers(&pod);
        let context = container.security_context.unwrap();
        assert_eq!(context.run_as_non_root, Some(true));
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.read_only_root_filesystem, Some(true));
        assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
        assert_eq!(context.run_as_user, Some(user.as_i64().unwrap_or(65533)));
        assert_ne!(context.run_as_user, sidecar.security_context.unwrap().run_as_user);
        assert_eq!(pod.automount_service_account_token, Some(false));
    }
}

#[test]
fn the_container_has_no_probe_so_that_its_server_may_listen_on_loopback() {
    let pod = pod(&children(&server(CONTAINER)).deployment);
    let [sidecar, container] = containers(&pod);
    assert_eq!(
        (
            container.startup_probe,
            container.readiness_probe,
            container.liveness_probe
        ),
        (None, None, None)
    );
    assert!(sidecar.readiness_probe.is_some(), "it asks for the server's port");
    assert!(container.ports.is_none());
}

#[test]
fn the_sidecar_forwards_to_its_port_and_path_and_each_tool_needs_the_wider_scope() {
    let plan = plan(&container_with(json!({"port": 8000, "path": "/api/mcp/"})));
    let configuration = Configuration::render(&plan).unwrap();
    assert_eq!(configuration.server, None);
    let sidecar: SidecarConfig = serde_yaml::from_str(&configuration.sidecar).unwrap();
    assert_eq!(sidecar.upstream.as_str(), "http://127.0.0.1:8000/api/mcp/");
    assert_eq!(sidecar.access.server, behalf_contract::ServerKind::Container);
    assert!(sidecar.access.writes && sidecar.access.read_only_tools.is_empty());
}

#[test]
fn the_network_policy_opens_no_port_of_the_server_and_no_host_of_azure_devops() {
    let policy = children(&server(CONTAINER)).network_policy.unwrap().spec.unwrap();
    let ports: Vec<_> = policy
        .ingress
        .iter()
        .flatten()
        .flat_map(|rule| rule.ports.iter().flatten())
        .map(|port| serde_json::to_value(&port.port).unwrap())
        .collect();
    assert_eq!(ports, [json!(8080), json!(9090)]);
    let plan = plan(&server(CONTAINER));
    let hosts: Vec<_> = plan.outgoing().into_iter().map(|url| url.host_str()).collect();
    assert_eq!(hosts, [Some("login.microsoftonline.com")]);
}

#[test]
fn the_container_gets_the_proxy_of_the_installation_in_variables() {
    let mut plan = plan(&server(CONTAINER));
    plan.egress_proxy = Some(egress_proxy("http://proxy.corp.example:3128"));
    let children = build(&plan, None).unwrap();
    let pod = pod(&children.deployment);
    let [sidecar, container] = containers(&pod);
    let variables: Vec<_> = container
        .env
        .iter()
        .flatten()
        .map(|variable| (&*variable.name, variable.value.as_deref().unwrap()))
        .collect();
    let address = "http://proxy.corp.example:3128";
    let direct = "localhost,.localhost,127.0.0.1,127.0.0.0/8,::1,.svc,.cluster.local,corp.example,10.0.0.0/8";
    let expected = [
        ("HTTPS_PROXY", address),
        ("https_proxy", address),
        ("NO_PROXY", direct),
        ("no_proxy", direct),
    ];
    assert_eq!(variables, expected);
    // The sidecar reads its file alone.
    assert!(
        sidecar
            .env
            .iter()
            .flatten()
            .all(|variable| !variable.name.to_ascii_uppercase().ends_with("_PROXY"))
    );
}
