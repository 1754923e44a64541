//! Tests the validation of the session store.

use behalf_contract::{RedisAuthentication, StoreConfig, paths};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{REDIS, redis};

/// A patch that selects a Redis that takes tokens of Entra for this application.
fn entra(client_id: Option<&str>) -> Value {
    redis(json!({"auth": {"type": "Entra", "secret": null, "entra": {"clientId": client_id}}}))
}

#[rstest]
#[case::a_service(json!({"endpoints": ["redis://redis.mcp.svc:6379"]}))]
#[case::an_address(json!({"endpoints": ["redis://10.1.2.3:6379"]}))]
#[case::an_address_of_ipv6(json!({"endpoints": ["redis://[fd00::1]:6379"]}))]
#[case::nodes_of_a_cluster(json!({"topology": "Cluster", "endpoints": [REDIS, "rediss://b.example:6380"]}))]
fn accepts_a_redis(#[case] settings: Value) {
    let endpoints = settings["endpoints"].clone();
    let plan = judge(&quickstart_with(redis(settings)), &ClusterState::default()).unwrap();
    let StoreConfig::Redis(config) = plan.sessions.store else {
        panic!("no Redis")
    };
    assert_eq!(serde_json::to_value(config.endpoints).unwrap(), endpoints);
}

#[test]
fn the_sidecar_reads_the_user_only_if_the_secret_has_one() {
    let authentication = |auth: Value| {
        let plan = judge(
            &quickstart_with(redis(json!({"auth": auth}))),
            &ClusterState::default(),
        )
        .unwrap();
        match plan.sessions.store {
            StoreConfig::Redis(config) => config.authentication,
            StoreConfig::Memory => panic!("no Redis"),
        }
    };
    let files = |username: Option<&str>| RedisAuthentication::Secret {
        username_file: username.map(Into::into),
        password_file: paths::STORE_PASSWORD.into(),
    };
    assert_eq!(authentication(json!({})), files(Some(paths::STORE_USERNAME)));
    let without = json!({"secret": {"secretRef": {"usernameKey": null}}});
    assert_eq!(authentication(without), files(None));
    let none = json!({"type": "None", "secret": null});
    assert_eq!(authentication(none), RedisAuthentication::None);
}

#[rstest]
#[case::that_of_the_object(None, None)]
#[case::another(
    Some("AAAAAAAA-2222-4222-8222-222222222222"),
    Some("aaaaaaaa-2222-4222-8222-222222222222")
)]
fn tokens_for_a_redis_of_azure_are_for_one_application(
    #[case] named: Option<&str>,
    #[case] expected: Option<&str>,
) {
    let plan = judge(&quickstart_with(entra(named)), &ClusterState::default()).unwrap();
    let StoreConfig::Redis(config) = plan.sessions.store else {
        panic!("no Redis")
    };
    let authentication = RedisAuthentication::Entra {
        client_id: expected.map(str::to_owned),
        scope: "https://redis.azure.com/.default".to_owned(),
    };
    assert_eq!(config.authentication, authentication);
    assert!(plan.store.secret.is_none());
}

#[test]
fn an_application_that_is_reserved_for_another_namespace_is_refused_for_a_redis_too() {
    const RESERVED: &str = "33333333-2222-4222-8222-222222222222";
    let mut defaults = defaults();
    let reserved = json!({"other": {"clientIds": [RESERVED]}}).to_string();
    defaults.allowed.namespaces = parse_namespaces(&reserved).unwrap();
    let server = quickstart_with(entra(Some(RESERVED)));
    let refusals = refusals_of(validate(&server, &ClusterState::default(), &defaults));
    let [refusal] = &refusals[..] else {
        panic!("{refusals:?}")
    };
    let message = refusal.to_string();
    let start = format!("sessions.store.redis.auth.entra.clientId must not name the application {RESERVED}");
    assert!(message.starts_with(&start), "{message}");
}

#[test]
fn the_store_decides_the_number_of_pods_unless_the_spec_does() {
    let replicas = |patch: Value| {
        judge(&quickstart_with(patch), &ClusterState::default())
            .unwrap()
            .replicas
    };
    assert_eq!(replicas(json!({})), 1);
    assert_eq!(replicas(redis(json!({}))), 2);
    let mut three = redis(json!({}));
    three["replicas"] = json!(3);
    assert_eq!(replicas(three), 3);
}

#[test]
fn refuses_a_certificate_authority_of_the_store_that_does_not_exist() {
    let server = quickstart_with(redis(json!({"certificateAuthorityRef": {"name": "redis-ca"}})));
    let of_entra = json!({"metadata": {}, "data": {"ca.crt": "-----BEGIN CERTIFICATE-----"}});
    let found = ClusterState {
        certificate_authority: Some(serde_json::from_value(of_entra.clone()).unwrap()),
        ..ClusterState::default()
    };
    let refusals_found = refusals(&server, &found);
    let [refusal @ Refusal::CertificateAuthorityNotFound { .. }] = &refusals_found[..] else {
        panic!("{refusals_found:?}")
    };
    let message = refusal.to_string();
    assert!(
        message.starts_with("sessions.store.redis.certificateAuthorityRef names the key ca.crt"),
        "{message}"
    );
    let found = ClusterState {
        store_certificate_authority: Some(serde_json::from_value(of_entra).unwrap()),
        ..ClusterState::default()
    };
    assert_eq!(refusals(&server, &found), []);
}

#[test]
fn the_example_for_aks_is_two_replicas_whose_redis_takes_tokens_of_the_application() {
    let example = [
        ("${NAMESPACE}", "mcp"),
        ("${SERVER_NAME}", "azure-devops"),
        ("${PUBLIC_URL}", "https://mcp.contoso.example"),
        ("${TENANT_ID}", "11111111-1111-4111-8111-111111111111"),
        ("${CLIENT_ID}", "22222222-2222-4222-8222-222222222222"),
        ("${QUOTE}", "\""),
        ("${ORGANIZATION}", "123"),
        (
            "${REDIS_ENDPOINT}",
            "rediss://contoso.westeurope.redis.azure.net:10000",
        ),
    ]
    .into_iter()
    .fold(
        include_str!("../../../../../examples/terraform-aks/cluster/servers/mcpserver.yaml").to_owned(),
        |text, (name, value)| text.replace(name, value),
    );
    let plan = judge(&server(&example), &ClusterState::default()).unwrap();
    assert_eq!(plan.replicas, 2);
    let StoreConfig::Redis(redis) = plan.sessions.store else {
        panic!("the store is memory")
    };
    assert!(
        matches!(
            redis.authentication,
            RedisAuthentication::Entra { client_id: None, .. }
        ),
        "{:?}",
        redis.authentication
    );
}
