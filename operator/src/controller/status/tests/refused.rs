//! Tests the status of a refused object.

use super::*;

#[test]
fn a_refused_edit_stalls_and_the_status_describes_the_pods_that_run() {
    let mut world = World::new();
    let good = world.reconcile();
    world.server.metadata.generation = Some(2);
    let refusal = Refusal::Field {
        field: "publicUrl",
        problem: "must be an origin".to_owned(),
    };
    world.refusals = Some(Refusals::one(refusal));
    let status = world.reconcile();
    assert_eq!(status.observed_generation, 2);
    assert_eq!(
        status_and_reason(&status, ConditionType::Accepted),
        pair("False", "InvalidSpec")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Stalled),
        pair("True", "InvalidSpec")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("False", "InvalidSpec")
    );
    for kind in [
        ConditionType::Available,
        ConditionType::FederationVerified,
        ConditionType::Verified,
    ] {
        assert_eq!(
            condition(&status, kind),
            condition(&good, kind),
            "still of generation 1"
        );
    }
    assert_eq!(status.address, good.address);
    let without_command = good.federation.map(|federation| FederationStatus {
        command: None,
        ..federation
    });
    assert_eq!(
        status.federation, without_command,
        "a command names the application of an accepted spec alone"
    );
}

#[test]
fn the_status_of_a_refused_object_keeps_no_value_of_another_writer() {
    let mut world = World::new();
    world.reconcile();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    let honest = world.reconcile();
    let status = world.server.status.as_mut().unwrap();
    let federation = status.federation.as_mut().unwrap();
    federation.command = Some("az ad app delete --id 1".to_owned());
    federation.subject = "system:serviceaccount:mcp:attacker".to_owned();
    federation.redirect_uri = "https://mcp.attacker.example/callback".to_owned();
    status.address.as_mut().unwrap().url = "https://mcp.attacker.example/mcp".to_owned();
    assert_eq!(world.reconcile(), honest);
}

#[test]
fn previous_conditions_do_not_count_if_no_pods_are_known_to_run() {
    let mut world = World::new();
    world.reconcile();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    world.configurations.clear();
    let status = world.reconcile();
    for kind in [
        ConditionType::FederationVerified,
        ConditionType::Verified,
        ConditionType::UserSignIn,
    ] {
        assert_eq!(status_and_reason(&status, kind), pair("Unknown", "NotObserved"));
    }
    assert_eq!((status.federation, status.address), (None, None));
}

#[test]
fn a_refusal_that_needs_no_edit_of_the_object_does_not_stall() {
    let mut world = World::new();
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    assert!(find(&world.reconcile().conditions, ConditionType::Stalled).is_none());
}
