//! Tests the operator's command line: defaults, and values that it refuses at the start.

use clap::CommandFactory as _;

use super::*;
use crate::controller::reference_defaults::ReferenceDefaults;
use crate::controller::validate::installation_policy::{self, Allowed};

#[test]
fn is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn runs_without_a_command() {
    let cli = Cli::try_parse_from(["behalf-operator", "--sidecar-image", "a:1"]).unwrap();
    assert!(cli.command.is_none());
    assert_eq!(cli.run.sidecar_image, "a:1");
    assert!(matches!(
        Cli::try_parse_from(["behalf-operator", "crd"]).unwrap().command,
        Some(Command::Crd { helm: false })
    ));
}

fn allowed(arguments: &[&str]) -> Allowed {
    Cli::try_parse_from(["behalf-operator"].iter().chain(arguments))
        .unwrap()
        .run
        .defaults()
        .unwrap()
        .allowed
}

#[test]
fn objects_may_name_the_known_clouds_by_default() {
    let default = allowed(&[]);
    assert_eq!(default.entra_hosts, installation_policy::ENTRA_HOSTS);
    assert_eq!(
        default.azure_dev_ops_hosts,
        installation_policy::AZURE_DEV_OPS_HOSTS
    );
    assert!(default.redirect_hosts.is_empty());
    assert!(default.document_hosts.is_empty());
    assert!(default.server_repositories.is_empty());
}

#[test]
fn a_list_of_hosts_replaces_its_default() {
    let told = allowed(&[
        "--allowed-entra-hosts=entra.contoso.example:8443",
        "--allowed-azure-devops-hosts=a.contoso.example,b.contoso.example",
        "--allowed-redirect-hosts=ci.contoso.example",
        "--allowed-document-hosts=vscode.dev,claude.ai",
        "--allowed-server-repositories=registry.contoso.example/mcp",
    ]);
    assert_eq!(told.server_repositories, ["registry.contoso.example/mcp"]);
    assert_eq!(told.entra_hosts, ["entra.contoso.example:8443"]);
    assert_eq!(
        told.azure_dev_ops_hosts,
        ["a.contoso.example", "b.contoso.example"]
    );
    assert_eq!(told.redirect_hosts, ["ci.contoso.example"]);
    assert_eq!(told.document_hosts, ["vscode.dev", "claude.ai"]);
}

#[test]
fn a_list_that_would_match_nothing_is_refused_at_the_start() {
    for argument in [
        "--allowed-entra-hosts=https://entra.contoso.example",
        "--allowed-entra-hosts=",
        "--allowed-azure-devops-hosts=*.contoso.example",
        "--allowed-server-repositories=contoso/server",
        "--allowed-document-hosts=vscode.dev:8443",
    ] {
        let error = Cli::try_parse_from(["behalf-operator", argument]).unwrap_err();
        assert!(error.to_string().contains("write <"), "{error}");
    }
}

#[test]
fn objects_of_every_namespace_are_named_as_kubernetes_names_objects() {
    let parse = |arguments: &[&str]| Cli::try_parse_from(["behalf-operator"].iter().chain(arguments));
    let shared = |arguments: &[&str]| parse(arguments).unwrap().run.reference_defaults();
    assert_eq!(shared(&[]), ReferenceDefaults::default());
    let named = shared(&[
        "--certificate-authority-config-map=corp-ca",
        "--image-pull-secrets=mirror,second.mirror",
    ]);
    let authority = named.certificate_authority.unwrap();
    assert_eq!((&*authority.name, &*authority.key), ("corp-ca", "ca.crt"));
    assert_eq!(named.image_pull_secrets, ["mirror", "second.mirror"]);
    for argument in [
        "--certificate-authority-config-map=../corp",
        "--certificate-authority-key=..",
        "--certificate-authority-key=a/b",
        "--image-pull-secrets=mirror,",
    ] {
        let error = parse(&[argument]).unwrap_err();
        assert!(error.to_string().contains("write "), "{error}");
    }
}

#[test]
fn a_proxy_with_a_password_stops_the_start_and_the_password_is_not_repeated() {
    let parse = |arguments: &[&str]| {
        let cli = Cli::try_parse_from(["behalf-operator"].iter().chain(arguments)).unwrap();
        cli.run.defaults().map(|defaults| defaults.egress_proxy)
    };
    assert_eq!(parse(&[]), Ok(None));
    let proxy = parse(&[
        "--egress-proxy-https=http://proxy.corp.example:3128",
        "--egress-proxy-no-proxy=.corp.example,10.0.0.0/8",
    ]);
    let proxy = proxy.unwrap().unwrap();
    assert_eq!(proxy.https.origin(), "http://proxy.corp.example:3128");
    assert_eq!(proxy.no_proxy.len(), 2);

    let error = parse(&["--egress-proxy-https=http://ana:hunter2@proxy.corp.example:3128"]).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let nothing = [
        "--egress-proxy-https=http://proxy:3128",
        "--egress-proxy-no-proxy=*.corp.example",
    ];
    assert!(
        parse(&nothing)
            .unwrap_err()
            .to_string()
            .contains("*.corp.example")
    );
}

#[test]
fn watches_namespaces_or_the_whole_cluster_and_not_both() {
    let parse = |arguments: &[&str]| {
        Cli::try_parse_from(
            ["behalf-operator", "--namespace=behalf-system"]
                .iter()
                .chain(arguments),
        )
    };
    let scope = |arguments: &[&str]| parse(arguments).unwrap().run.scope().unwrap().to_string();
    assert_eq!(scope(&[]), "behalf-system");
    assert_eq!(scope(&["--watch-namespaces=one,two"]), "one, two");
    assert_eq!(scope(&["--cluster-wide"]), "all");
    assert!(parse(&["--cluster-wide", "--watch-namespaces=one"]).is_err());
    assert!(parse(&["--watch-namespaces=one,"]).is_err());
}

#[test]
fn a_collector_that_could_get_no_span_is_refused_at_the_start() {
    let parse = |endpoint: &str| {
        let argument = format!("--tracing-endpoint={endpoint}");
        Cli::try_parse_from(["behalf-operator", &argument]).map(|cli| cli.run.tracing_endpoint)
    };
    assert!(parse("http://otel.obs.svc:4318").unwrap().is_some());
    for endpoint in [
        "http://otel.obs.svc:4317",
        "otel.obs.svc:4318",
        "http://otel:4318/v1/traces",
    ] {
        let error = parse(endpoint).unwrap_err().to_string();
        assert!(error.contains("must"), "{error}");
    }
    let alone = ["behalf-operator", "--tracing-certificate-authority=/ca.crt"];
    assert!(
        Cli::try_parse_from(alone).is_err(),
        "a bundle without a collector"
    );
}

#[test]
fn a_lease_needs_a_namespace_and_an_identity() {
    let parse = |arguments: &[&str]| {
        Cli::try_parse_from(
            ["behalf-operator", "--lease=behalf-operator"]
                .iter()
                .chain(arguments),
        )
    };
    assert!(parse(&["--namespace=behalf-system"]).is_err());
    assert!(parse(&["--namespace=behalf-system", "--pod-name=behalf-operator-1"]).is_ok());
}

#[test]
fn pods_listen_on_the_cluster_s_ip_family() {
    let listen = |arguments: &[&str]| {
        Cli::try_parse_from(["behalf-operator"].iter().chain(arguments))
            .unwrap()
            .run
            .defaults()
            .unwrap()
            .listen
    };
    assert!(listen(&["--pod-ip", "fd00::7"]).is_ipv6());
    assert!(listen(&["--pod-ip", "10.0.0.7"]).is_ipv4());
    assert!(listen(&[]).is_ipv4());
}
