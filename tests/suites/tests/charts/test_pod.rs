//! Tests the Pod of `helm test`, and the references of all images.

use serde_json::{Value, json};

use crate::render::{one, render};

fn container(object: &Value) -> &Value {
    let pod = match object["kind"].as_str() {
        Some("Pod") => object.pointer("/spec"),
        _ => object.pointer("/spec/template/spec"),
    };
    &pod.unwrap()["containers"][0]
}

/// The environment of a container, without fields of the Pod.
fn environment(container: &Value) -> Vec<(&str, &str)> {
    let variables = container["env"].as_array().unwrap().iter();
    variables
        .filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?)))
        .collect()
}

#[test]
fn helm_test_checks_with_the_image_the_rights_and_the_scope_of_the_operator() {
    for scope in ["clusterWide=true", "watchNamespaces={mcp}"] {
        let objects = render(&[
            scope,
            "nodeSelector.disk=fast",
            "imagePullSecrets[0].name=mirror",
            "podLabels.team=platform",
            "podAnnotations.mesh=off",
        ])
        .unwrap();
        let (pod, deployment) = (one(&objects, "Pod"), one(&objects, "Deployment"));
        assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
        let template = &deployment["spec"]["template"];
        for pointer in ["/metadata/labels/team", "/metadata/annotations/mesh"] {
            assert!(pod.pointer(pointer).is_some(), "{pointer}");
            assert_eq!(pod.pointer(pointer), template.pointer(pointer), "{pointer}");
        }
        for field in [
            "serviceAccountName",
            "securityContext",
            "nodeSelector",
            "imagePullSecrets",
        ] {
            assert_eq!(pod["spec"][field], template["spec"][field], "{field}");
        }
        let (check, operator) = (container(pod), container(deployment));
        assert_eq!(check["args"], json!(["check"]));
        for field in ["image", "imagePullPolicy", "securityContext", "resources"] {
            assert_eq!(check[field], operator[field], "{field}");
        }
        let of_operator = environment(operator);
        for variable in environment(check) {
            assert!(of_operator.contains(&variable), "{variable:?}");
        }
        // The Deployment, its budget and network policies of McpServers must not count this Pod as an operator.
        let name = &pod["metadata"]["labels"]["app.kubernetes.io/name"];
        assert_ne!(
            *name,
            deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        );
    }
}

#[test]
fn a_mirror_replaces_the_registry_of_every_image_and_a_digest_pins_it() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let pinned = format!("image.digest={digest}");
    let set = [
        "imageRegistry=mirror.contoso.example:5000/ghcr",
        "images.sidecar.tag=v2",
        &pinned,
    ];
    let objects = render(&set).unwrap();
    let operator = container(one(&objects, "Deployment"));
    let variables = environment(operator);
    let image = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.unwrap().1
    };
    assert_eq!(
        [
            operator["image"].as_str().unwrap(),
            image("BEHALF_SIDECAR_IMAGE"),
            image("BEHALF_MCP_SERVER_IMAGE")
        ],
        [
            &format!("mirror.contoso.example:5000/ghcr/behalf-dev/operator@{digest}"),
            "mirror.contoso.example:5000/ghcr/behalf-dev/auth-sidecar:v2",
            concat!(
                "mirror.contoso.example:5000/ghcr/behalf-dev/mcp-server:",
                env!("CARGO_PKG_VERSION")
            ),
        ]
    );
}
