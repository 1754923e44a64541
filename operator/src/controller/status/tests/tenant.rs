//! Tests `TenantMatches`.

use super::*;
use contract::TenantReport;

fn tenant(outcome: contract::Outcome, reason: &str) -> TenantReport {
    TenantReport {
        outcome,
        reason: reason.to_owned(),
        message: "Set the tenant to 66666666-6666-4666-8666-666666666666.".to_owned(),
        observed_at: time(60),
    }
}

#[rstest]
#[case(contract::Outcome::Failed, "OtherTenant", "False")]
#[case(contract::Outcome::Failed, "NoTenant", "False")]
#[case(contract::Outcome::Unknown, "TenantNotNamed", "Unknown")]
#[case(contract::Outcome::Unknown, "Unreachable", "Unknown")]
#[case(contract::Outcome::Unknown, "Throttled", "Unknown")]
fn the_tenant_of_the_organization_changes_tenant_matches_alone(
    #[case] outcome: contract::Outcome,
    #[case] reason: &str,
    #[case] expected: &str,
) {
    let mut world = World::new();
    let good = world.reconcile();
    assert_eq!(
        status_and_reason(&good, ConditionType::TenantMatches),
        pair("True", "SameTenant")
    );
    world.document().tenant = Some(tenant(outcome, reason));
    let bad = world.reconcile();
    assert_eq!(changed(&good, &bad), ["TenantMatches"]);
    let kind = ConditionType::TenantMatches;
    assert_eq!(status_and_reason(&bad, kind), pair(expected, reason));
    assert!(
        !condition(&bad, kind).message.contains("66666666"),
        "no text of a Pod"
    );
    // A Pod that restarts has not asked yet.
    world.document().tenant = None;
    assert_eq!(changed(&bad, &world.reconcile()), Vec::<&str>::new());
}

#[test]
fn another_tenant_names_the_request_that_shows_it() {
    let mut world = World::new();
    world.document().tenant = Some(tenant(contract::Outcome::Failed, "OtherTenant"));
    let status = world.reconcile();
    let message = &condition(&status, ConditionType::TenantMatches).message;
    assert!(
        message.contains("curl --silent --head https://vssps.dev.azure.com/contoso"),
        "{message}"
    );
}

#[test]
fn one_pod_that_sees_another_tenant_is_enough() {
    let mut world = World::new();
    let mut second = world.reports[0].clone();
    second.document.as_mut().unwrap().tenant = Some(tenant(contract::Outcome::Failed, "OtherTenant"));
    world.reports.push(second);
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::TenantMatches),
        pair("False", "OtherTenant")
    );
}

#[test]
fn a_server_of_another_kind_has_no_tenant_to_match() {
    let container = json!({"image": "registry.contoso.example/mcp/orders:1"});
    let mut world = World::of(quickstart_with(json!({
        "server": {"azureDevOps": null, "container": container}, "tokenExchange": {"injection": "None"},
    })));
    let status = world.reconcile();
    assert!(find(&status.conditions, ConditionType::TenantMatches).is_none());
}

#[test]
fn a_refused_object_keeps_the_condition_of_its_pods() {
    let mut world = World::new();
    world.reconcile();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::TenantMatches),
        pair("True", "SameTenant")
    );
}
