//! Tests `RouteReady`, and what `Ready` and the address make of it.

use super::*;
use crate::controller::children::HttpRoute;
use crate::controller::plan::RoutePlan;
use crate::controller::status::conditions::{ConditionValue, route_ready};

const KIND: ConditionType = ConditionType::RouteReady;

fn routed() -> McpServer {
    quickstart_with(json!({"route": {"gateway": {"parentRefs": [
        {"name": "public", "namespace": "gateways", "sectionName": "https"},
    ]}}}))
}

/// The entry in the status of the route for the Gateway of [`routed`], with type, status and reason of each condition.
fn says(conditions: &[(&str, &str, &str)]) -> Value {
    says_of(
        &json!({"name": "public", "namespace": "gateways", "sectionName": "https"}),
        conditions,
    )
}

fn says_of(parent: &Value, conditions: &[(&str, &str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status, reason)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "Its words.", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        })
        .collect();
    json!({"controllerName": "example.net/gateway", "parentRef": parent, "conditions": conditions})
}

const ACCEPTED: (&str, &str, &str) = ("Accepted", "True", "Accepted");
const RESOLVED: (&str, &str, &str) = ("ResolvedRefs", "True", "ResolvedRefs");

/// The route of `server`, of which controllers say this.
fn route(server: &McpServer, parents: &[Value]) -> HttpRoute {
    let mut route = children(server).http_route.unwrap();
    route.metadata.generation = Some(1);
    route.status = Some(serde_json::from_value(json!({"parents": parents})).unwrap());
    route
}

fn value(server: &McpServer, parents: &[Value]) -> ConditionValue {
    route_ready::condition(&plan(server).route, Some(&route(server, parents))).unwrap()
}

#[test]
fn there_is_no_condition_without_a_route() {
    let status = World::new().reconcile();
    assert!(find(&status.conditions, KIND).is_none());
    assert!(status.address.is_some());
}

#[test]
fn a_route_that_every_gateway_accepts_is_ready_and_has_an_address() {
    let mut world = World::of(routed());
    world.route = Some(route(&world.server, &[says(&[ACCEPTED, RESOLVED])]));
    let status = world.reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("True", "RouteAccepted"));
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("True", "Ready")
    );
    assert!(status.address.is_some());
}

#[test]
fn a_refused_route_makes_ready_false_and_removes_the_address() {
    let mut world = World::of(routed());
    let refuses = says(&[("Accepted", "False", "NotAllowedByListeners"), RESOLVED]);
    world.route = Some(route(&world.server, &[refuses]));
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, KIND),
        pair("False", "NotAllowedByListeners")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("False", "NotAllowedByListeners")
    );
    assert_eq!(status.address, None);
}

#[test]
fn a_route_that_no_controller_has_seen_is_not_ready_yet() {
    let status = World::of(routed()).reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("Unknown", "RoutePending"));
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("Unknown", "Verifying")
    );
    assert_eq!(status.address, None);
    assert!(
        condition(&status, KIND)
            .message
            .contains("Gateway gateways/public, listener https"),
        "{}",
        condition(&status, KIND).message
    );
}

#[test]
fn a_refused_edit_leaves_the_route_of_the_last_accepted_spec_in_the_status() {
    let mut world = World::of(routed());
    world.route = Some(route(&world.server, &[says(&[ACCEPTED, RESOLVED])]));
    world.reconcile();
    world.refusals = Some(Refusals::one(Refusal::Field {
        field: "spec",
        problem: "is wrong".to_owned(),
    }));
    assert_eq!(
        status_and_reason(&world.reconcile(), KIND),
        pair("True", "RouteAccepted")
    );
}

#[test]
fn without_the_gateway_api_the_condition_says_so() {
    let value = route_ready::condition(&RoutePlan::NoGatewayApi, None).unwrap();
    assert_eq!(
        (value.status, value.reason),
        (Status::False, contract::Reason::GatewayApiNotInstalled)
    );
}

#[rstest]
#[case("NotAllowedByListeners", "NotAllowedByListeners")]
#[case("NoMatchingListenerHostname", "NoMatchingListenerHostname")]
#[case("NoMatchingParent", "NoMatchingParent")]
#[case("UnsupportedValue", "UnsupportedValue")]
#[case("SomethingNew", "RouteRefused")]
fn a_reason_of_the_gateway_api_is_told_with_the_next_step(#[case] theirs: &str, #[case] ours: &str) {
    let value = value(&routed(), &[says(&[("Accepted", "False", theirs), RESOLVED])]);
    assert_eq!((value.status, value.reason.as_str()), (Status::False, ours));
    assert!(
        value.message.contains(theirs) && value.message.contains("\"Its words.\""),
        "{}",
        value.message
    );
}

#[rstest]
#[case("RefNotPermitted")]
#[case("BackendNotFound")]
#[case("InvalidKind")]
fn a_gateway_that_does_not_find_the_service_is_told(#[case] theirs: &str) {
    let value = value(&routed(), &[says(&[ACCEPTED, ("ResolvedRefs", "False", theirs)])]);
    assert_eq!(value.reason.as_str(), "BackendNotResolved");
}

#[rstest]
#[case::another_listener(says_of(&json!({"name": "public", "namespace": "gateways", "sectionName": "http"}), &[ACCEPTED, RESOLVED]))]
#[case::another_gateway(says_of(&json!({"name": "private", "namespace": "gateways", "sectionName": "https"}), &[ACCEPTED, RESOLVED]))]
#[case::another_namespace(says_of(&json!({"name": "public", "sectionName": "https"}), &[ACCEPTED, RESOLVED]))]
#[case::a_service(says_of(&json!({"kind": "Service", "name": "public", "namespace": "gateways", "sectionName": "https"}), &[ACCEPTED, RESOLVED]))]
#[case::accepted_alone(says(&[ACCEPTED]))]
#[case::pending(says(&[("Accepted", "False", "Pending"), RESOLVED]))]
#[case::nothing_known(says(&[("Accepted", "Unknown", "Pending"), RESOLVED]))]
fn the_status_of_another_parent_or_controller_does_not_count(#[case] said: Value) {
    let value = value(&routed(), &[said]);
    assert_eq!(
        (value.status, value.reason.as_str()),
        (Status::Unknown, "RoutePending")
    );
}

#[test]
fn a_controllers_status_of_an_earlier_generation_does_not_count() {
    let server = routed();
    let mut route = route(&server, &[says(&[ACCEPTED, RESOLVED])]);
    route.metadata.generation = Some(2);
    let value = route_ready::condition(&plan(&server).route, Some(&route)).unwrap();
    assert_eq!(value.reason.as_str(), "RoutePending");
}

#[test]
fn one_of_two_controllers_of_a_gateway_that_refuses_decides() {
    let refuses = says(&[("Accepted", "False", "NoMatchingParent"), RESOLVED]);
    let value = value(&routed(), &[says(&[ACCEPTED, RESOLVED]), refuses]);
    assert_eq!(value.reason.as_str(), "NoMatchingParent");
}

#[test]
fn a_time_that_nobody_can_read_does_not_hide_the_route() {
    let mut said = says(&[ACCEPTED, RESOLVED]);
    said["conditions"][0]["lastTransitionTime"] = json!("2024-01-01T00:00:00ZTx");
    assert_eq!(value(&routed(), &[said]).reason.as_str(), "RouteAccepted");
}

#[test]
fn one_gateway_of_two_that_refuses_or_is_silent_decides() {
    let server =
        quickstart_with(json!({"route": {"gateway": {"parentRefs": [{"name": "one"}, {"name": "two"}]}}}));
    let accepts = |name: &str| says_of(&json!({"name": name, "namespace": "mcp"}), &[ACCEPTED, RESOLVED]);
    let refuses = says_of(
        &json!({"name": "two"}),
        &[("Accepted", "False", "NoMatchingParent")],
    );
    for (parents, reason) in [
        (vec![accepts("one"), accepts("two")], "RouteAccepted"),
        (vec![accepts("one")], "RoutePending"),
        (vec![refuses.clone()], "NoMatchingParent"),
        (vec![accepts("one"), refuses], "NoMatchingParent"),
    ] {
        assert_eq!(value(&server, &parents).reason.as_str(), reason);
    }
}
