//! Follows values of the chart from the rendered variables of the operator to the Deployment that it builds.

use behalf_local_cluster::files;
use behalf_operator::api::v1alpha1::McpServer;
use behalf_operator::cli::Cli;
use behalf_operator::controller::children;
use behalf_operator::controller::dereference::cluster_state::ClusterState;
use behalf_operator::controller::validate::validate;
use clap::{CommandFactory as _, Parser as _};
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use crate::operator::environment;
use crate::render::{of_kind, render};

/// The options that say the same as the variables. The test cannot set variables: they are those of all tests.
fn options(variables: Vec<(String, String)>) -> Vec<String> {
    let command = Cli::command();
    let option = |(name, value): (String, String)| {
        let found = command.get_arguments().find(|argument| {
            let variable = argument.get_env();
            variable.is_some_and(|variable| variable == name.as_str())
        });
        let long = found.and_then(|argument| argument.get_long());
        let long = long.unwrap_or_else(|| panic!("the operator does not know {name}"));
        // Kubernetes fills in those without a value, without which there is no Lease.
        let is_given = !value.is_empty() && long != "lease";
        is_given.then(|| format!("--{long}={value}"))
    };
    variables.into_iter().filter_map(option).collect()
}

/// The Pod of an example, as an operator builds it that is installed with these values.
fn pod(set: &[&str]) -> PodSpec {
    let options = options(environment(&render(set).unwrap()));
    let cli = Cli::parse_from(["behalf-operator".to_owned()].into_iter().chain(options));
    let example = files::checkout().join("examples/quickstart.yaml");
    let mut server: McpServer = serde_yaml::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    server.metadata.uid = Some("6b1f7f6e-0000-4000-8000-000000000001".to_owned());
    let plan = validate(&server, &ClusterState::default(), &cli.run.defaults().unwrap());
    let children = children::build(&plan.unwrap(), None).unwrap();
    children.deployment.spec.unwrap().template.spec.unwrap()
}

/// The images of sidecar and server.
fn images(pod: PodSpec) -> [String; 2] {
    let [sidecar, server] = [pod.init_containers.unwrap_or_default(), pod.containers].map(|containers| {
        assert_eq!(containers.len(), 1);
        containers
            .into_iter()
            .find_map(|container| container.image)
            .unwrap()
    });
    [sidecar, server]
}

#[test]
fn a_digest_pins_the_image_in_the_pods_of_operator_sidecar_and_server_and_wins_over_a_tag() {
    let digests = ["a", "b", "c"].map(|digit| format!("sha256:{}", digit.repeat(64)));
    let [operator, sidecar, server] = &digests;
    let set = |prefix: &str, digest: &str| format!("{prefix}.digest={digest}");
    let set = [
        set("image", operator),
        set("images.sidecar", sidecar),
        set("images.mcpServer", server),
        "image.tag=1.2.3".to_owned(),
        "images.sidecar.tag=1.2.3".to_owned(),
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    for (mirror, registry) in [
        (None, "ghcr.io"),
        (Some("imageRegistry=mirror.example/ghcr"), "mirror.example/ghcr"),
    ] {
        let set: Vec<&str> = set.iter().copied().chain(mirror).collect();
        let expected =
            |repository: &str, digest: &str| format!("{registry}/behalf-dev/{repository}@{digest}");
        assert_eq!(
            images(pod(&set)),
            [expected("auth-sidecar", sidecar), expected("mcp-server", server)]
        );
        let objects = render(&set).unwrap();
        let own = of_kind(&objects, "Deployment")[0].pointer("/spec/template/spec/containers/0/image");
        assert_eq!(
            own.and_then(Value::as_str),
            Some(&*expected("operator", operator))
        );
    }
    // Without a digest the tag decides.
    let [sidecar, _] = images(pod(&["images.sidecar.tag=1.2.3"]));
    assert_eq!(sidecar, "ghcr.io/behalf-dev/auth-sidecar:1.2.3");
}
