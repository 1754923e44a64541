//! Tests the validation of what the installation allows.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn message(patch: Value) -> String {
    judge(&quickstart_with(patch), &ClusterState::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_refusal_names_the_value_and_the_setting_that_allows_it() {
    let authority = message(json!({"entra": {"authority": "https://evil.example:8443"}}));
    assert!(
        authority.starts_with("entra.authority must not name the host evil.example:8443:"),
        "{authority}"
    );
    assert!(
        authority.contains("allowed.entraHosts of the chart behalf"),
        "{authority}"
    );
    let endpoint =
        message(json!({"server": {"azureDevOps": {"endpoints": {"release": "https://evil.example"}}}}));
    assert!(
        endpoint.starts_with("server.azureDevOps.endpoints.release must not name the host evil.example:"),
        "{endpoint}"
    );
    assert!(
        endpoint.contains("allowed.azureDevOpsHosts of the chart behalf"),
        "{endpoint}"
    );
    let client = message(
        json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://evil.example/cb"]}]}}),
    );
    assert!(
        client.starts_with("clients.static must not name the host evil.example:"),
        "{client}"
    );
    assert!(
        client.contains("allowed.redirectHosts of the chart behalf"),
        "{client}"
    );
    for message in [authority, endpoint, client] {
        assert!(
            message.contains("have an administrator of the installation allow it with allowed."),
            "{message}"
        );
    }
}

#[rstest]
#[case::government(json!({"entra": {"authority": "https://login.microsoftonline.us"}}))]
#[case::china(json!({"entra": {"authority": "https://login.partner.microsoftonline.cn"}}))]
#[case::redirect_host(json!({"clients": {"additionalRedirectHosts": ["agents.contoso.example"]}}))]
#[case::vendor_as_redirect_host(json!({"clients": {"additionalRedirectHosts": ["claude.ai", "agents.contoso.example"]}}))]
#[case::client(json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://agents.contoso.example/cb"]}]}}))]
#[case::client_at_a_port(json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://ci.example:8443/cb"]}]}}))]
#[case::client_of_a_vendor(json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://claude.ai/api/mcp/auth_callback"]}]}}))]
#[case::client_on_this_machine(json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["http://127.0.0.1:9000/cb"]}]}}))]
#[case::client_on_this_machine_with_tls(json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://localhost/cb"]}]}}))]
fn accepts_hosts_that_the_installation_allows(#[case] patch: Value) {
    assert_eq!(refusals(&quickstart_with(patch), &ClusterState::default()), []);
}

/// Returns the refusals of an installation that reserves values for namespaces.
fn refusals_where(reserved: &str, server: &McpServer, found: &ClusterState) -> Vec<Refusal> {
    let mut defaults = defaults();
    defaults.allowed.namespaces = parse_namespaces(reserved).unwrap();
    refusals_of(validate(server, found, &defaults))
}

#[rstest]
#[case::host(
    r#"{"bank": {"publicUrlHosts": ["mcp.contoso.example"]}}"#,
    "publicUrl must not name the host mcp.contoso.example:",
    "namespaces.mcp.publicUrlHosts of the chart behalf"
)]
#[case::host_of_no_list(
    r#"{"mcp": {"publicUrlHosts": ["other.contoso.example"]}}"#,
    "publicUrl must not name the host mcp.contoso.example:",
    "namespaces.mcp.publicUrlHosts of the chart behalf"
)]
#[case::application(
    r#"{"bank": {"clientIds": ["22222222-2222-4222-8222-222222222222"]}}"#,
    "entra.clientId must not name the application 22222222-2222-4222-8222-222222222222:",
    "namespaces.mcp.clientIds of the chart behalf"
)]
fn refuses_values_that_the_installation_reserves_for_other_namespaces(
    #[case] reserved: &str,
    #[case] start: &str,
    #[case] setting: &str,
) {
    let refusals = refusals_where(reserved, &server(QUICKSTART), &ClusterState::default());
    let [refusal] = &refusals[..] else {
        panic!("{refusals:?}")
    };
    assert_eq!(refusal.reason(), Reason::InvalidSpec);
    let message = refusal.to_string();
    assert!(
        message.starts_with(start) && message.contains(setting),
        "{message}"
    );
    for part in [
        "have an administrator of the installation allow it with",
        "limits the namespace to the entries of that list",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[rstest]
#[case::of_another_namespace(r#"{"bank": {"clientIds": ["33333333-3333-4333-8333-333333333333"]}}"#, 1)]
#[case::of_no_list(r#"{"mcp": {"clientIds": ["22222222-2222-4222-8222-222222222222"]}}"#, 1)]
#[case::of_this_namespace(
    r#"{"mcp": {"clientIds": ["22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"]}}"#,
    0
)]
#[case::reserved_for_nobody("{}", 0)]
fn applications_whose_tokens_are_accepted_are_reserved_as_those_of_objects(
    #[case] reserved: &str,
    #[case] expected: usize,
) {
    let tokens = json!({"policy": "Enabled", "clientIds": ["33333333-3333-4333-8333-333333333333"]});
    let server = quickstart_with(json!({"clients": {"entraTokens": tokens}}));
    let refusals = refusals_where(reserved, &server, &ClusterState::default());
    assert_eq!(refusals.len(), expected, "{refusals:?}");
    for refusal in refusals {
        let message = refusal.to_string();
        assert!(
            message.starts_with("clients.entraTokens.clientIds must not name the application 33333333-")
                && message.contains("namespaces.mcp.clientIds of the chart behalf"),
            "{message}"
        );
    }
}

#[test]
fn an_older_object_that_may_not_have_the_public_url_does_not_own_it() {
    let found = ClusterState {
        other_claims: vec![other_claim(-1)],
        ..ClusterState::default()
    };
    let mine = server(QUICKSTART);
    let reserved = r#"{"mcp": {"publicUrlHosts": ["mcp.contoso.example"]}}"#;
    assert_eq!(refusals_where("{}", &mine, &found).len(), 1);
    assert_eq!(refusals_where(reserved, &mine, &found), []);
}
