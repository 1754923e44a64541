//! Tests the validation of clients.

use behalf_contract::EgressProxy;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::redirect_host("clients.additionalRedirectHosts", json!({"clients": {"additionalRedirectHosts": ["https://ci.example"]}}))]
#[case::document_host("clients.metadataDocuments.allowedHosts", json!({"clients": {"metadataDocuments": {"allowedHosts": ["vscode.dev:443"]}}}))]
#[case::no_application("clients.entraTokens.clientIds", json!({"clients": {"entraTokens": {"policy": "Enabled"}}}))]
#[case::application_is_no_guid("clients.entraTokens.clientIds", json!({"clients": {"entraTokens": {"clientIds": ["agent"]}}}))]
#[case::the_application_itself("clients.entraTokens.clientIds", json!({"clients": {"entraTokens": {"clientIds": ["22222222-2222-4222-8222-222222222222"]}}}))]
#[case::denied_without_path("clients.denied", json!({"clients": {"denied": ["https://claude.ai"]}}))]
#[case::denied_with_port("clients.denied", json!({"clients": {"denied": ["claude.ai:443"]}}))]
#[case::denied_in_capitals("clients.denied", json!({"clients": {"denied": ["Claude.ai"]}}))]
#[case::denied_with_a_dot_at_the_end("clients.denied", json!({"clients": {"denied": ["claude.ai."]}}))]
#[case::denied_by_a_pattern("clients.denied", json!({"clients": {"denied": ["*.claude.ai"]}}))]
#[case::denied_by_a_suffix("clients.denied", json!({"clients": {"denied": [".claude.ai"]}}))]
#[case::denied_by_a_name("clients.denied", json!({"clients": {"denied": ["claude"]}}))]
#[case::denied_by_a_path("clients.denied", json!({"clients": {"denied": ["claude.ai/oauth"]}}))]
#[case::denied_with_a_query("clients.denied", json!({"clients": {"denied": ["https://claude.ai/c?x=1"]}}))]
#[case::denied_by_a_part_of_an_id("clients.denied", json!({"clients": {"denied": ["bhi1.c9.MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"]}}))]
#[case::denied_by_a_part_of_a_label("clients.denied", json!({"clients": {"denied": ["registered:9f86d081"]}}))]
#[case::denied_by_a_label_in_capitals("clients.denied", json!({"clients": {"denied": ["registered:9F86D081884C7D65"]}}))]
#[case::client_at_a_vendors_other_page("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://claude.ai/share/1"]}]}}))]
#[case::redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["http://ci.example/cb"]}]}}))]
#[case::other_loopback("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["http://127.0.0.2/cb"]}]}}))]
#[case::capitals_in_a_redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://CI.example/cb"]}]}}))]
#[case::default_port_in_a_redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://ci.example:443/cb"]}]}}))]
#[case::long_redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": [format!("https://ci.example/{}", "a".repeat(512))]}]}}))]
#[case::fragment("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://ci.example/cb#x"]}]}}))]
fn refuses_a_client_setting(#[case] field: &str, #[case] patch: Value) {
    assert_refused(field, patch);
}

#[test]
fn every_form_of_a_denied_client_is_accepted() {
    let registered = format!("bhi1.c9.{}", "aB3-_".repeat(40));
    let denied = json!([
        "https://claude.ai/oauth/claude-code-client-metadata",
        "chatgpt.com",
        "a.b.contoso.example",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "ci",
        registered,
        "registered:9f86d081884c7d65",
    ]);
    let listed = json!([{"clientId": "ci", "displayName": "CI", "redirectUris": ["http://127.0.0.1/cb"]}]);
    let patch = json!({"clients": {"denied": denied, "static": listed}});
    let refusals = refusals(&quickstart_with(patch), &Found::default());
    assert!(refusals.is_empty(), "{refusals:?}");
}

#[test]
fn the_refusal_of_a_denied_client_shows_a_short_part_and_says_what_to_write() {
    let entry = "x".repeat(1024);
    let server = quickstart_with(json!({"clients": {"denied": [entry]}}));
    let text = judge(&server, &Found::default()).unwrap_err().to_string();
    assert!(
        text.contains("write the https address of a metadata document"),
        "{text}"
    );
    assert!(text.len() < 600, "{text}");
}

#[test]
fn tokens_of_entra_are_accepted_only_from_listed_applications_and_only_if_enabled() {
    let id = "33333333-3333-4333-8333-33333333ABCD";
    let accepted = |tokens: Value| {
        let server = quickstart_with(json!({"clients": {"entraTokens": tokens}}));
        judge(&server, &Found::default())
            .unwrap()
            .clients
            .entra_token_clients
    };
    assert!(accepted(json!({})).is_empty());
    assert!(accepted(json!({"clientIds": [id]})).is_empty());
    let enabled = accepted(json!({"policy": "Enabled", "clientIds": [id]}));
    assert_eq!(enabled, [id.to_ascii_lowercase()]);
}

#[test]
fn the_installation_alone_decides_for_which_hosts_the_proxy_is_asked_by_name() {
    let by_name = |documents: Value, defaults: &Defaults| {
        let server = quickstart_with(json!({"clients": {"metadataDocuments": documents}}));
        let plan = validate(&server, &Found::default(), defaults).unwrap();
        plan.clients.metadata_documents.hosts_by_name
    };
    let mut defaults = defaults();
    defaults.allowed.document_hosts = vec!["vscode.dev".to_owned(), "claude.ai".to_owned()];
    let without_proxy = by_name(json!({}), &defaults);
    assert!(without_proxy.is_empty(), "{without_proxy:?}");
    defaults.egress_proxy = Some(EgressProxy {
        https: "http://proxy.corp.example:3128".parse().unwrap(),
        no_proxy: Vec::new(),
    });
    // Sorted, so that another order is no rollout.
    assert_eq!(by_name(json!({}), &defaults), ["claude.ai", "vscode.dev"]);
    // An object gets none that its own list excludes, and adds none.
    let listed = json!({"allowedHosts": ["vscode.dev", "intranet.contoso.example"]});
    assert_eq!(by_name(listed, &defaults), ["vscode.dev"]);
    let disabled = by_name(json!({"policy": "Disabled"}), &defaults);
    assert!(disabled.is_empty(), "{disabled:?}");
}
