//! Tests the validation of clients.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::redirect_host("clients.additionalRedirectHosts", json!({"clients": {"additionalRedirectHosts": ["https://ci.example"]}}))]
#[case::document_host("clients.metadataDocuments.allowedHosts", json!({"clients": {"metadataDocuments": {"allowedHosts": ["vscode.dev:443"]}}}))]
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
