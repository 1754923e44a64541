//! Tests the validation of clients.

use behalf_contract::EgressProxy;
use serde_json::{Value, json};

use super::*;

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
    let refusals = refusals(&quickstart_with(patch), &ClusterState::default());
    assert!(refusals.is_empty(), "{refusals:?}");
}

#[test]
fn the_refusal_of_a_denied_client_shows_a_short_part_and_says_what_to_write() {
    let entry = "x".repeat(1024);
    let server = quickstart_with(json!({"clients": {"denied": [entry]}}));
    let text = judge(&server, &ClusterState::default()).unwrap_err().to_string();
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
        judge(&server, &ClusterState::default())
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
        let plan = validate(&server, &ClusterState::default(), defaults).unwrap();
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

#[test]
fn refuses_a_redirect_uri_that_is_longer_than_the_sidecar_takes() {
    let uri = format!("https://ci.example/{}", "a".repeat(512));
    let client = json!({"clientId": "ci", "displayName": "CI", "redirectUris": [uri]});
    assert_refused("clients.static", json!({"clients": {"static": [client]}}));
}
