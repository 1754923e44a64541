//! Tests the validation of the plan of an accepted spec.

use behalf_contract::{ExchangePlace, Injection};

use super::*;

#[test]
fn computes_the_defaults_that_depend_on_other_fields() {
    let plan = judge(&server(QUICKSTART), &ClusterState::default()).unwrap();
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
