//! Tests the validation of the settings of Entra.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::public("https://login.microsoftonline.com", None, "api://AzureADTokenExchange")]
#[case::government("https://login.microsoftonline.us", None, "api://AzureADTokenExchangeUSGov")]
#[case::china(
    "https://login.partner.microsoftonline.cn",
    None,
    "api://AzureADTokenExchangeChina"
)]
#[case::another("https://entra.test.example:8443", None, "api://AzureADTokenExchange")]
#[case::named("https://login.microsoftonline.us", Some("api://own"), "api://own")]
fn computes_the_audience_from_the_authority(
    #[case] authority: &str,
    #[case] named: Option<&str>,
    #[case] expected: &str,
) {
    let patch = match named {
        Some(audience) => json!({"entra": {"authority": authority, "federation": {"audience": audience}}}),
        None => json!({"entra": {"authority": authority}}),
    };
    let plan = judge(&quickstart_with(patch), &ClusterState::default()).unwrap();
    assert_eq!(plan.entra.federation_audience, expected);
}

#[test]
fn writes_guids_as_tokens_carry_them() {
    let server = quickstart_with(json!({"entra": {"tenantId": "AAAAAAAA-1111-4111-8111-111111111111"}}));
    assert_eq!(
        judge(&server, &ClusterState::default()).unwrap().entra.tenant_id,
        "aaaaaaaa-1111-4111-8111-111111111111"
    );
}

fn with_authority(config_map: Option<Value>) -> Vec<Refusal> {
    let server = quickstart_with(json!({"entra": {"certificateAuthorityRef": {"name": "private-ca"}}}));
    let certificate_authority = config_map.map(|config_map| serde_json::from_value(config_map).unwrap());
    refusals(
        &server,
        &ClusterState {
            certificate_authority,
            ..ClusterState::default()
        },
    )
}

#[test]
fn refuses_a_certificate_authority_that_is_not_there_or_is_none() {
    assert!(matches!(
        with_authority(None)[..],
        [Refusal::CertificateAuthorityNotFound { .. }]
    ));
    let other_key = json!({"metadata": {}, "data": {"tls.crt": "-----BEGIN CERTIFICATE-----"}});
    assert!(matches!(
        with_authority(Some(other_key))[..],
        [Refusal::CertificateAuthorityNotFound { .. }]
    ));
    let no_pem = json!({"metadata": {}, "data": {"ca.crt": "hello"}});
    assert!(matches!(
        with_authority(Some(no_pem))[..],
        [Refusal::CertificateAuthorityInvalid { .. }]
    ));
    let pem = json!({"metadata": {}, "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n"}});
    assert!(with_authority(Some(pem)).is_empty());
}
