//! Tests the validation of specs.

use kube::ResourceExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::controller::validate::installation_policy::parse_namespaces;
use crate::testing::{QUICKSTART, defaults, judge, quickstart_with, server, shared, time};
use behalf_contract::Reason;

fn refusals(server: &McpServer, found: &Found) -> Vec<Refusal> {
    match judge(server, found) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().cloned().collect(),
    }
}

#[test]
fn computes_the_defaults_that_depend_on_other_fields() {
    let plan = judge(&server(QUICKSTART), &Found::default()).unwrap();
    assert_eq!(plan.entra.scope, "22222222-2222-4222-8222-222222222222/.default");
    assert_eq!(plan.token_exchange.at, ExchangePlace::Sidecar);
    assert_eq!(plan.token_exchange.injection, Injection::Header);
    assert_eq!(
        plan.token_exchange.scope.as_deref(),
        Some("499b84ac-1321-427f-aa17-267ca6975798/.default")
    );
    assert_eq!(plan.sessions.maximum_lifetime_seconds, 2160 * 3600);
    assert_eq!(plan.service_account_name(), "azure-devops");
    assert_eq!(plan.subject(), "system:serviceaccount:mcp:azure-devops");
    assert_eq!(plan.replicas, 1);
}

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
    let plan = judge(&quickstart_with(patch), &Found::default()).unwrap();
    assert_eq!(plan.entra.federation_audience, expected);
}

#[test]
fn a_user_who_sets_only_limits_keeps_the_default_requests() {
    let server = quickstart_with(json!({"server": {"resources": {"limits": {"memory": "1Gi"}}}}));
    let plan = judge(&server, &Found::default()).unwrap();
    let resources = serde_json::to_value(&plan.server.resources).unwrap();
    assert_eq!(
        resources,
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
    );
}

#[test]
fn writes_guids_as_tokens_carry_them() {
    let server = quickstart_with(json!({"entra": {"tenantId": "AAAAAAAA-1111-4111-8111-111111111111"}}));
    assert_eq!(
        judge(&server, &Found::default()).unwrap().entra.tenant_id,
        "aaaaaaaa-1111-4111-8111-111111111111"
    );
}

#[rstest]
#[case::path("publicUrl", json!({"publicUrl": "https://mcp.contoso.example/mcp"}))]
#[case::slash("publicUrl", json!({"publicUrl": "https://mcp.contoso.example/"}))]
#[case::capitals("publicUrl", json!({"publicUrl": "https://MCP.contoso.example"}))]
#[case::default_port("publicUrl", json!({"publicUrl": "https://mcp.contoso.example:443"}))]
#[case::plain_http("publicUrl", json!({"publicUrl": "http://mcp.contoso.example"}))]
#[case::user("publicUrl", json!({"publicUrl": "https://ana@mcp.contoso.example"}))]
#[case::no_url("publicUrl", json!({"publicUrl": "mcp.contoso.example"}))]
#[case::tenant_name("entra.tenantId", json!({"entra": {"tenantId": "contoso.onmicrosoft.com"}}))]
#[case::common("entra.tenantId", json!({"entra": {"tenantId": "common"}}))]
#[case::client("entra.clientId", json!({"entra": {"clientId": "2222"}}))]
#[case::authority("entra.authority", json!({"entra": {"authority": "https://login.microsoftonline.com/"}}))]
#[case::authority_http("entra.authority", json!({"entra": {"authority": "http://login.microsoftonline.com"}}))]
#[case::no_server("server", json!({"server": {"azureDevOps": null}}))]
#[case::organization("server.azureDevOps.organization", json!({"server": {"azureDevOps": {"organization": "a/b"}}}))]
#[case::project("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": ["a/b"]}}}))]
#[case::endpoint("server.azureDevOps.endpoints.core", json!({"server": {"azureDevOps": {"endpoints": {"core": "http://x"}}}}))]
#[case::endpoint_of_nobody("server.azureDevOps.endpoints.core", json!({"server": {"azureDevOps": {"endpoints": {"core": "https://evil.example"}}}}))]
#[case::release_of_nobody("server.azureDevOps.endpoints.release", json!({"server": {"azureDevOps": {"endpoints": {"release": "https://evil.example"}}}}))]
#[case::identity_of_nobody("server.azureDevOps.endpoints.identity", json!({"server": {"azureDevOps": {"endpoints": {"identity": "https://evil.example"}}}}))]
#[case::endpoint_at_entra("server.azureDevOps.endpoints.core", json!({"server": {"azureDevOps": {"endpoints": {"core": "https://login.microsoftonline.com"}}}}))]
#[case::authority_of_nobody("entra.authority", json!({"entra": {"authority": "https://evil.example"}}))]
#[case::authority_at_another_port("entra.authority", json!({"entra": {"authority": "https://login.microsoftonline.com:8443"}}))]
#[case::authority_below_a_known_name("entra.authority", json!({"entra": {"authority": "https://login.microsoftonline.com.evil.example"}}))]
#[case::quantity("server.resources", json!({"server": {"resources": {"limits": {"memory": "much"}}}}))]
#[case::request_above_the_limit("sidecar.resources", json!({"sidecar": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}}))]
#[case::loader("server.env", json!({"server": {"env": [{"name": "LD_PRELOAD", "value": "/etc/behalf/certificate-authority/ca.crt"}]}}))]
#[case::loader_by_tunables("server.env", json!({"server": {"env": [{"name": "GLIBC_TUNABLES", "value": "x"}]}}))]
#[case::converters("server.env", json!({"server": {"env": [{"name": "GCONV_PATH", "value": "x"}]}}))]
#[case::host_aliases("server.env", json!({"server": {"env": [{"name": "HOSTALIASES", "value": "x"}]}}))]
#[case::proxy("server.env", json!({"server": {"env": [{"name": "https_proxy", "value": "http://evil.example"}]}}))]
#[case::proxy_for_all("server.env", json!({"server": {"env": [{"name": "ALL_PROXY", "value": "http://evil.example"}]}}))]
#[case::azure_variable("server.env", json!({"server": {"env": [{"name": "AZURE_CLIENT_ID", "value": "x"}]}}))]
#[case::behalf_variable("server.env", json!({"server": {"env": [{"name": "BEHALF_LOG", "value": "x"}]}}))]
#[case::proxy_without_prefix("trustedProxies", json!({"trustedProxies": ["10.0.0.1"]}))]
#[case::proxy_with_host_bits("trustedProxies", json!({"trustedProxies": ["10.0.0.1/8"]}))]
#[case::every_proxy("trustedProxies", json!({"trustedProxies": ["10.0.0.0/8", "0.0.0.0/0"]}))]
#[case::every_ipv6_proxy("trustedProxies", json!({"trustedProxies": ["::/0"]}))]
#[case::keyring("server.env", json!({"server": {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "azure-devops-keyring", "key": "keyring.json"}}}]}}))]
#[case::secret("server.env", json!({"server": {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "payroll", "key": "password"}}}]}}))]
#[case::audience_of_the_api_server("entra.federation.audience", json!({"entra": {"federation": {"audience": "https://kubernetes.default.svc"}}}))]
#[case::audience_of_another_cloud("entra.federation.audience", json!({"entra": {"federation": {"audience": "sts.amazonaws.com"}}}))]
#[case::audience_without_a_name("entra.federation.audience", json!({"entra": {"federation": {"audience": "api://"}}}))]
#[case::audience_with_a_space("entra.federation.audience", json!({"entra": {"federation": {"audience": "api://a b"}}}))]
#[case::certificate_authority_path("entra.certificateAuthorityRef.name", json!({"entra": {"certificateAuthorityRef": {"name": "../secrets/x"}}}))]
#[case::service_account_path("entra.federation.serviceAccountName", json!({"entra": {"federation": {"serviceAccountName": "a..b"}}}))]
#[case::project_that_climbs("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": [".."]}}}))]
#[case::project_of_the_api("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": ["_apis"]}}}))]
#[case::project_with_a_dot_behind("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": ["shop."]}}}))]
#[case::label("pod.labels", json!({"pod": {"labels": {"azure.workload.identity/use": "true"}}}))]
#[case::own_label("pod.labels", json!({"pod": {"labels": {"behalf.dev/mcp-server": "x"}}}))]
#[case::annotation("pod.annotations", json!({"pod": {"annotations": {"azure.workload.identity/skip-containers": "x"}}}))]
#[case::grace("pod.terminationGracePeriodSeconds", json!({"pod": {"terminationGracePeriodSeconds": 10}}))]
#[case::replicas("replicas", json!({"replicas": 2}))]
#[case::no_replicas("replicas", json!({"replicas": 0}))]
#[case::duration("sessions.idleLifetime", json!({"sessions": {"idleLifetime": "soon"}}))]
#[case::short_access("sessions.accessTokenLifetime", json!({"sessions": {"accessTokenLifetime": "59s"}}))]
#[case::idle("sessions.idleLifetime", json!({"sessions": {"idleLifetime": "30m"}}))]
#[case::maximum("sessions.maximumLifetime", json!({"sessions": {"maximumLifetime": "9000h"}}))]
#[case::grace_period("sessions.refreshGrace", json!({"sessions": {"refreshGrace": "11m"}}))]
#[case::redirect_host("clients.additionalRedirectHosts", json!({"clients": {"additionalRedirectHosts": ["https://ci.example"]}}))]
#[case::redirect_host_of_nobody("clients.additionalRedirectHosts", json!({"clients": {"additionalRedirectHosts": ["agents.contoso.example", "evil.example"]}}))]
#[case::vendor_at_a_port("clients.additionalRedirectHosts", json!({"clients": {"additionalRedirectHosts": ["claude.ai:8443"]}}))]
#[case::client_of_nobody("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://evil.example/cb"]}]}}))]
#[case::client_at_another_port("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://agents.contoso.example:8443/cb"]}]}}))]
#[case::client_at_a_vendors_other_page("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://claude.ai/share/1"]}]}}))]
#[case::redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["http://ci.example/cb"]}]}}))]
#[case::other_loopback("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["http://127.0.0.2/cb"]}]}}))]
#[case::capitals_in_a_redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://CI.example/cb"]}]}}))]
#[case::default_port_in_a_redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://ci.example:443/cb"]}]}}))]
#[case::long_redirect_uri("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": [format!("https://ci.example/{}", "a".repeat(512))]}]}}))]
#[case::fragment("clients.static", json!({"clients": {"static": [{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://ci.example/cb#x"]}]}}))]
fn refuses(#[case] field: &str, #[case] patch: Value) {
    let refusals = refusals(&quickstart_with(patch), &Found::default());
    let fields: Vec<&str> = refusals
        .iter()
        .map(|refusal| match refusal {
            Refusal::Field { field, .. } => *field,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(fields, [field]);
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.reason() == Reason::InvalidSpec && refusal.needs_edit())
    );
}

#[rstest]
#[case("http://localhost:8080")]
#[case("http://127.0.0.1:9000")]
#[case("http://[::1]:9000")]
#[case("https://mcp.contoso.example:8443")]
fn takes_as_public_url(#[case] public_url: &str) {
    assert!(
        judge(
            &quickstart_with(json!({"publicUrl": public_url})),
            &Found::default()
        )
        .is_ok()
    );
}

fn message(patch: Value) -> String {
    judge(&quickstart_with(patch), &Found::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn what_is_not_allowed_is_named_with_the_setting_that_allows_it() {
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
fn takes_what_the_installation_allows(#[case] patch: Value) {
    assert_eq!(refusals(&quickstart_with(patch), &Found::default()), []);
}

#[test]
fn names_every_fault_at_once() {
    let server = quickstart_with(json!({"publicUrl": "x", "replicas": 3}));
    let refusals = judge(&server, &Found::default()).unwrap_err();
    assert_eq!(refusals.iter().count(), 2);
    assert!(refusals.to_string().contains("; "));
}

#[rstest]
#[case::too_long(&"a".repeat(49))]
#[case::a_digit_first("1a")]
#[case::a_dot("a.b")]
fn refuses_a_name_that_children_cannot_have(#[case] name: &str) {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    assert!(matches!(
        refusals(&server, &Found::default())[..],
        [Refusal::Field {
            field: "metadata.name",
            ..
        }]
    ));
}

#[test]
fn an_older_object_takes_the_public_url_and_is_named() {
    let mine = server(QUICKSTART);
    let claim = |seconds| crate::controller::public_url::Claim {
        namespace: "other".to_owned(),
        name: "older".to_owned(),
        uid: "ffffffff-0000-4000-8000-000000000002".to_owned(),
        created_at: Some(time(seconds)),
    };
    let beside = |seconds| {
        let other_claims = vec![claim(seconds)];
        refusals(
            &mine,
            &Found {
                other_claims,
                ..Found::default()
            },
        )
    };
    let taken = Refusal::PublicUrlTaken {
        namespace: "other".to_owned(),
        name: "older".to_owned(),
    };
    assert!(taken.needs_edit());
    assert_eq!(beside(-1), [taken]);
    assert_eq!(beside(1), [], "a younger object takes nothing");
}

/// Returns the refusals of an installation that reserves values for namespaces.
fn refusals_where(reserved: &str, server: &McpServer, found: &Found) -> Vec<Refusal> {
    let mut defaults = defaults();
    defaults.allowed.namespaces = parse_namespaces(reserved).unwrap();
    match validate(server, found, &defaults) {
        Ok(_) => Vec::new(),
        Err(refusals) => refusals.iter().cloned().collect(),
    }
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
fn refuses_what_the_installation_reserves_for_other_namespaces(
    #[case] reserved: &str,
    #[case] start: &str,
    #[case] setting: &str,
) {
    let refusals = refusals_where(reserved, &server(QUICKSTART), &Found::default());
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

#[test]
fn an_older_object_that_may_not_have_the_public_url_does_not_own_it() {
    let found = Found {
        other_claims: vec![crate::controller::public_url::Claim {
            namespace: "other".to_owned(),
            name: "older".to_owned(),
            uid: "ffffffff-0000-4000-8000-000000000002".to_owned(),
            created_at: Some(time(-1)),
        }],
        ..Found::default()
    };
    let mine = server(QUICKSTART);
    let reserved = r#"{"mcp": {"publicUrlHosts": ["mcp.contoso.example"]}}"#;
    assert_eq!(refusals_where("{}", &mine, &found).len(), 1);
    assert_eq!(refusals_where(reserved, &mine, &found), []);
}

fn with_authority(config_map: Option<Value>) -> Vec<Refusal> {
    let server = quickstart_with(json!({"entra": {"certificateAuthorityRef": {"name": "private-ca"}}}));
    let certificate_authority = config_map.map(|config_map| serde_json::from_value(config_map).unwrap());
    refusals(
        &server,
        &Found {
            certificate_authority,
            ..Found::default()
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

#[test]
fn refuses_a_given_service_account_that_is_not_there() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    let refusals = refusals(&server, &Found::default());
    assert!(matches!(refusals[..], [Refusal::ServiceAccountNotFound { .. }]));
    assert!(
        !refusals[0].needs_edit(),
        "creating the ServiceAccount helps as well"
    );
}

fn borrowing(namespace: &str, account: Value) -> Vec<Refusal> {
    let mut server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    server.metadata.namespace = Some(namespace.to_owned());
    let found = Found {
        service_account: Some(serde_json::from_value(account).unwrap()),
        ..Found::default()
    };
    refusals(&server, &found)
}

#[rstest]
#[case::without_the_annotation(json!({}), "behalf.dev/mcp-servers=azure-devops;")]
#[case::shared_with_others(
    json!({"behalf.dev/mcp-servers": "other, azure-devops-2"}),
    "behalf.dev/mcp-servers=other,azure-devops-2,azure-devops --overwrite;"
)]
#[case::text_that_is_no_name(
    json!({"behalf.dev/mcp-servers": "$(touch x);"}),
    "behalf.dev/mcp-servers=azure-devops --overwrite;"
)]
fn borrows_no_service_account_whose_owner_did_not_agree(#[case] annotations: Value, #[case] command: &str) {
    let refusals = borrowing(
        "mcp",
        json!({"metadata": {"name": "shared", "annotations": annotations}}),
    );
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason(), Reason::ServiceAccountNotShared);
    assert!(!refusals[0].needs_edit(), "the annotation helps as well");
    let message = refusals[0].to_string();
    let command = format!("kubectl annotate serviceaccount shared -n mcp {command}");
    assert!(message.contains(&command), "{message}");
}

#[test]
fn borrows_a_service_account_whose_owner_agreed() {
    let annotations = json!({"behalf.dev/mcp-servers": "other, azure-devops"});
    assert_eq!(
        borrowing(
            "mcp",
            json!({"metadata": {"name": "shared", "annotations": annotations}})
        ),
        []
    );
}

#[test]
fn borrows_nothing_that_belongs_to_another_object_or_stands_beside_the_operator() {
    let annotations = json!({"behalf.dev/mcp-servers": "azure-devops"});
    let owner = json!({"apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "name": "other", "uid": "o", "controller": true});
    let controlled = borrowing(
        "mcp",
        json!({"metadata": {"name": "shared", "annotations": annotations, "ownerReferences": [owner]}}),
    );
    let beside = borrowing(
        "behalf-system",
        json!({"metadata": {"name": "shared", "annotations": annotations}}),
    );
    for refusals in [controlled, beside] {
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].reason(), Reason::ServiceAccountNotShared);
        assert!(refusals[0].needs_edit());
    }
}

#[test]
fn a_borrowed_service_account_is_planned_as_given() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    assert_eq!(
        judge(&server, &shared(&server)).unwrap().service_account,
        ServiceAccountPlan::Given("shared".to_owned())
    );
}

#[test]
fn naming_the_service_account_that_was_made_for_it_is_naming_none() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "azure-devops"}}}));
    let own = json!({"metadata": {"name": "azure-devops", "ownerReferences": [{
        "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "name": "azure-devops",
        "uid": server.uid().unwrap(), "controller": true,
    }]}});
    let found = Found {
        service_account: Some(serde_json::from_value(own).unwrap()),
        ..Found::default()
    };
    assert_eq!(
        judge(&server, &found).unwrap().service_account,
        ServiceAccountPlan::Own
    );
}

#[rstest]
#[case::of_this_object("azure-devops", "behalf.dev/keyring", true)]
#[case::of_another_object("other", "behalf.dev/keyring", false)]
#[case::no_keyring("azure-devops", "Opaque", false)]
fn uses_a_keyring_that_was_restored_from_a_backup_without_its_owner(
    #[case] label: &str,
    #[case] secret_type: &str,
    #[case] is_used: bool,
) {
    let server = server(QUICKSTART);
    let made = crate::testing::children(&server).keyring.unwrap();
    let file = String::from_utf8(made.data.unwrap()[names::KEYRING_KEY].0.clone()).unwrap();
    let mut found = keyring("former", &file);
    let secret = found.keyring.as_mut().unwrap();
    secret.metadata.owner_references = None;
    secret.metadata.labels = Some(names::labels(label));
    secret.type_ = Some(secret_type.to_owned());
    let expected = if is_used {
        Vec::new()
    } else {
        vec![Refusal::NameTaken {
            kind: "Secret",
            name: "azure-devops-keyring".to_owned(),
        }]
    };
    assert_eq!(refusals(&server, &found), expected);
}

fn keyring(owner: &str, file: &str) -> Found {
    let secret = json!({
        "metadata": {"name": "azure-devops-keyring", "ownerReferences": [{
            "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "name": "azure-devops",
            "uid": owner, "controller": true,
        }]},
    });
    let mut secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
    secret.data = Some(
        [(
            names::KEYRING_KEY.to_owned(),
            k8s_openapi::ByteString(file.as_bytes().to_vec()),
        )]
        .into(),
    );
    Found {
        keyring: Some(secret),
        ..Found::default()
    }
}

#[test]
fn keeps_a_readable_keyring_and_refuses_to_replace_a_damaged_one() {
    let server = server(QUICKSTART);
    let uid = server.uid().unwrap();
    let made = crate::testing::children(&server).keyring.unwrap();
    let file = String::from_utf8(made.data.unwrap()[names::KEYRING_KEY].0.clone()).unwrap();
    let plan = judge(&server, &keyring(&uid, &file)).unwrap();
    assert_eq!(
        plan.keyring,
        KeyringPlan::Keep {
            sealing: "s00000001".to_owned()
        }
    );
    let damaged = refusals(&server, &keyring(&uid, "{}"));
    assert!(matches!(damaged[..], [Refusal::KeyringDamaged { .. }]));
    assert!(!damaged[0].needs_edit());
    let foreign = refusals(&server, &keyring("somebody", &file));
    assert!(matches!(foreign[..], [Refusal::NameTaken { kind: "Secret", .. }]));
    assert!(
        foreign[0].to_string().contains("docs/sessions.md"),
        "{}",
        foreign[0]
    );
    let service = Refusal::NameTaken {
        kind: "Service",
        name: "azure-devops".to_owned(),
    };
    assert!(!service.to_string().contains("docs/sessions.md"), "{service}");
}

#[test]
fn the_example_behind_a_gateway_trusts_the_gateway_alone() {
    let example = include_str!("../../../../examples/behind-a-gateway.yaml");
    let plan = judge(&server(example), &Found::default()).unwrap();
    assert_eq!(plan.trusted_proxies, ["10.244.0.0/16".parse().unwrap()]);
}
