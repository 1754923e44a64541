//! Renders the charts with the values of the examples of Flux and `OpenTofu`, whose controllers no test runs.

use std::collections::{BTreeMap, BTreeSet};

use behalf_local_cluster::files;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::documentation::refused_gateway;
use crate::operator::environment;
use crate::render::{of_kind, one, render_release};

fn read(path: &str) -> String {
    std::fs::read_to_string(files::checkout().join("examples").join(path)).unwrap()
}

/// The objects of a file.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn names(objects: &[&Value]) -> BTreeSet<String> {
    let name = |object: &&Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    objects.iter().map(name).collect()
}

/// Renders a chart with these values, as helm-controller does it.
fn render(release: &Value, values: &Value) -> Result<Vec<Value>, String> {
    let spec = &release["spec"];
    let chart = spec.pointer("/chart/spec/chart").and_then(Value::as_str).unwrap();
    let chart = chart.strip_prefix("charts/").expect(chart);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    let namespace = spec["targetNamespace"].as_str().unwrap();
    render_release(chart, namespace, &[&format!("@{}", file.path().display())])
}

/// Renders every release of a file. `values_of` returns the values of a release.
fn render_all(objects: &[Value], values_of: impl Fn(&Value) -> Value) -> BTreeMap<String, Vec<Value>> {
    let releases = of_kind(objects, "HelmRelease");
    assert_eq!(
        names(&releases),
        BTreeSet::from(["behalf".to_owned(), "behalf-crds".to_owned()])
    );
    let mut rendered = BTreeMap::new();
    for release in &releases {
        let name = release["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(release["spec"]["releaseName"], json!(name));
        for dependency in release["spec"]["dependsOn"].as_array().into_iter().flatten() {
            assert!(
                names(&releases).contains(dependency["name"].as_str().unwrap()),
                "{dependency}"
            );
        }
        let values = values_of(release);
        rendered.insert(name.clone(), render(release, &values).unwrap());

        // The charts refuse what they do not know.
        for wrong in [json!({"replica": 3}), json!({"aggregatedRole": true})] {
            let mut values = values.clone();
            let members = values.as_object_mut().unwrap();
            members.extend(wrong.as_object().unwrap().clone());
            assert!(render(release, &values).is_err(), "{name} with {wrong}");
        }
    }
    rendered
}

/// Asserts that an operator serves exactly these namespaces, which the example makes, and runs these images.
fn assert_operator(objects: &[Value], namespaces: &[&str], example: &[Value], images: [&str; 3]) {
    let deployment = one(objects, "Deployment");
    assert_eq!(deployment["metadata"]["namespace"], "behalf-system");
    let made = names(&of_kind(example, "Namespace"));
    for namespace in namespaces {
        assert!(
            made.contains(*namespace),
            "nothing makes the namespace {namespace}"
        );
    }
    let bindings = of_kind(objects, "RoleBinding").into_iter().filter_map(|binding| {
        let is_of_servers = binding["roleRef"]["kind"] == "ClusterRole";
        is_of_servers.then(|| binding["metadata"]["namespace"].as_str().unwrap())
    });
    assert_eq!(
        bindings.collect::<BTreeSet<_>>(),
        namespaces.iter().copied().collect()
    );
    let variables: BTreeMap<String, String> = environment(objects).into_iter().collect();
    assert_eq!(variables["BEHALF_WATCH_NAMESPACES"], namespaces.join(","));
    let [operator, sidecar, server] = images;
    assert_eq!(
        deployment.pointer("/spec/template/spec/containers/0/image"),
        Some(&json!(operator))
    );
    assert_eq!(variables["BEHALF_SIDECAR_IMAGE"], sidecar);
    assert_eq!(variables["BEHALF_MCP_SERVER_IMAGE"], server);
}

#[test]
fn the_charts_accept_the_values_of_the_example_for_flux() {
    let objects = documents(&read("flux/operator.yaml"));
    let repository = one(&objects, "GitRepository");
    assert!(
        repository["spec"]["ignore"]
            .as_str()
            .unwrap()
            .contains("!/charts"),
        "the charts are left out"
    );
    for release in of_kind(&objects, "HelmRelease") {
        let source = release.pointer("/spec/chart/spec/sourceRef").unwrap();
        assert_eq!(
            source,
            &json!({"kind": "GitRepository", "name": repository["metadata"]["name"]})
        );
    }
    let rendered = render_all(&objects, |release| {
        let values = release["spec"].get("values").cloned();
        values.unwrap_or_else(|| json!({}))
    });
    // The first release makes the namespace of both.
    let first = of_kind(&objects, "HelmRelease")
        .into_iter()
        .find(|release| release["spec"]["dependsOn"].is_null())
        .unwrap();
    assert_eq!(first.pointer("/spec/install/createNamespace"), Some(&json!(true)));
    assert_eq!(
        of_kind(&rendered["behalf-crds"], "CustomResourceDefinition").len(),
        1
    );
    let images = ["operator", "auth-sidecar", "mcp-server"].map(|name| {
        // As the comment in the file asks for it.
        format!("registry.contoso.example/behalf/{name}:1")
    });
    assert_operator(
        &rendered["behalf"],
        &["mcp"],
        &objects,
        images.each_ref().map(String::as_str),
    );
}

#[test]
fn the_servers_of_the_example_for_flux_wait_for_the_operator_that_serves_their_namespace() {
    let operator = documents(&read("flux/behalf.yaml"));
    let servers = documents(&read("flux/servers.yaml"));
    let (operator, servers) = (one(&operator, "Kustomization"), one(&servers, "Kustomization"));
    assert_eq!(
        servers["spec"]["dependsOn"],
        json!([{"name": operator["metadata"]["name"]}])
    );
    assert_eq!(
        servers["metadata"]["namespace"],
        operator["metadata"]["namespace"]
    );
    let releases = documents(&read("flux/operator.yaml"));
    let served: Vec<&Value> = of_kind(&releases, "HelmRelease")
        .into_iter()
        .filter_map(|release| release.pointer("/spec/values/watchNamespaces/0"))
        .collect();
    assert_eq!(served, [&servers["spec"]["targetNamespace"]]);
}

/// Values of the variables that gitops.tf substitutes. The tag is one that YAML takes for a number.
const VARIABLES: [(&str, &str); 18] = [
    ("NAMESPACE", "mcp"),
    ("SERVER_NAME", "azure-devops"),
    ("PUBLIC_URL", "https://mcp.contoso.example"),
    ("PUBLIC_HOST", "mcp.contoso.example"),
    ("TENANT_ID", "11111111-1111-4111-8111-111111111111"),
    ("CLIENT_ID", "22222222-2222-4222-8222-222222222222"),
    ("ORGANIZATION", "123"),
    ("REDIS_ENDPOINT", "rediss://r.westeurope.redis.azure.net:10000"),
    ("QUOTE", "\""),
    ("OPERATOR_REGISTRY", "contoso.azurecr.io"),
    ("OPERATOR_REPOSITORY", "behalf/operator"),
    ("OPERATOR_TAG", "12345678"),
    ("SIDECAR_REGISTRY", "contoso.azurecr.io"),
    ("SIDECAR_REPOSITORY", "behalf/auth-sidecar"),
    ("SIDECAR_TAG", "12345678"),
    ("MCP_SERVER_REGISTRY", "contoso.azurecr.io"),
    ("MCP_SERVER_REPOSITORY", "behalf/mcp-server"),
    ("MCP_SERVER_TAG", "12345678"),
];

/// Replaces the variables, as kustomize-controller does it after the build.
fn substituted(text: &str) -> String {
    VARIABLES.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    })
}

/// The names in `${...}`.
fn variables_of(text: &str) -> BTreeSet<&str> {
    let rest = text.split("${").skip(1);
    rest.filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}

/// The names that gitops.tf substitutes: the keys of the map, and three for each image of variables.tf.
fn substitutions(gitops: &str, variables: &str) -> BTreeSet<String> {
    let between = |text: &str, start: &str, end: &str| -> Vec<String> {
        let (_, rest) = text.split_once(start).expect(start);
        let (block, _) = rest.split_once(end).expect(end);
        let assigned = block.lines().filter_map(|line| line.split_once(" = "));
        let keys = assigned.map(|(key, _)| key.trim().to_owned());
        keys.filter(|key| !key.starts_with('#')).collect()
    };
    let plain = between(gitops, "substitutions = merge(\n    {\n", "\n    },");
    let images = between(variables, "variable \"images\" {", "\n  })");
    let images = images
        .into_iter()
        .filter(|key| key != "type" && key != "description");
    let of_images = images.flat_map(|image| {
        ["registry", "repository", "tag"].map(|part| format!("{image}_{part}").to_uppercase())
    });
    plain.into_iter().chain(of_images).collect()
}

#[test]
fn opentofu_substitutes_every_variable_of_its_manifests_and_no_other() {
    let folder = files::checkout().join("examples/terraform-aks/cluster");
    let mut texts = String::new();
    for part in ["operator", "servers"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            texts += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
        }
    }
    let gitops = read("terraform-aks/gitops.tf");
    let known = substitutions(&gitops, &read("terraform-aks/variables.tf"));
    let used: BTreeSet<String> = variables_of(&texts).into_iter().map(str::to_owned).collect();
    assert_eq!(used, known);
    let here = VARIABLES.map(|(name, _)| name.to_owned()).into();
    assert_eq!(known, here, "the table of this test");
}

#[test]
fn the_charts_accept_the_values_of_the_example_for_opentofu() {
    let mut objects = Vec::new();
    for file in ["namespaces.yaml", "releases.yaml"] {
        let text = substituted(&read(&format!("terraform-aks/cluster/operator/{file}")));
        objects.extend(documents(&text));
    }
    let config_map = one(&objects, "ConfigMap");
    let rendered = render_all(&objects, |release| {
        let from = release["spec"]["valuesFrom"].as_array().into_iter().flatten();
        let mut values = from.map(|source| {
            assert_eq!(
                source,
                &json!({"kind": "ConfigMap", "name": config_map["metadata"]["name"]})
            );
            let text = config_map["data"]["values.yaml"].as_str().unwrap();
            serde_yaml::from_str::<Value>(text).unwrap()
        });
        values.next().unwrap_or_else(|| json!({}))
    });
    let images = ["operator", "auth-sidecar", "mcp-server"]
        .map(|name| format!("contoso.azurecr.io/behalf/{name}:12345678"));
    let images = images.each_ref().map(String::as_str);
    assert_operator(&rendered["behalf"], &["mcp"], &objects, images);
    for release in of_kind(&objects, "HelmRelease") {
        let made = names(&of_kind(&objects, "Namespace"));
        assert!(made.contains(release["spec"]["targetNamespace"].as_str().unwrap()));
    }

    // The installation lets the example's McpServer use its address and its application.
    let server = substituted(&read("terraform-aks/cluster/servers/mcpserver.yaml"));
    let server = documents(&server).remove(0);
    let variables: BTreeMap<String, String> = environment(&rendered["behalf"]).into_iter().collect();
    let reserved: Value = serde_json::from_str(&variables["BEHALF_NAMESPACES"]).unwrap();
    let reserved = &reserved[server["metadata"]["namespace"].as_str().unwrap()];
    let address = server["spec"]["publicUrl"].as_str().unwrap();
    assert_eq!(
        reserved["publicUrlHosts"],
        json!([address.trim_start_matches("https://")])
    );
    assert_eq!(
        reserved["clientIds"],
        json!([server["spec"]["entra"]["clientId"]])
    );
}

#[test]
fn the_gateway_of_the_example_for_opentofu_takes_the_route_of_its_server() {
    let of = |file: &str| {
        documents(&substituted(&read(&format!(
            "terraform-aks/cluster/servers/{file}"
        ))))
    };
    let gateways = of("gateway.yaml");
    let gateway = one(&gateways, "Gateway");
    assert_eq!(refused_gateway(gateway), None, "{gateway}");
    let server = of("mcpserver.yaml").remove(0);
    let listener = &gateway["spec"]["listeners"][0];
    assert_eq!(
        server["spec"]["route"]["gateway"]["parentRefs"],
        json!([{
            "name": gateway["metadata"]["name"],
            "namespace": gateway["metadata"]["namespace"],
            "sectionName": listener["name"],
        }])
    );
    let host = listener["hostname"].as_str().unwrap();
    assert_eq!(server["spec"]["publicUrl"], json!(format!("https://{host}")));
    assert_eq!(
        listener["allowedRoutes"]["namespaces"]["selector"]["matchLabels"],
        json!({"kubernetes.io/metadata.name": server["metadata"]["namespace"]})
    );
}
