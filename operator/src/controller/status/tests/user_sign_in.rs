//! Tests `UserSignIn`.

use super::*;

#[test]
fn user_sign_in_reports_what_entra_answers_to_users_and_does_not_change_ready() {
    let mut world = World::new();
    let good = world.reconcile();
    assert_eq!(
        status_and_reason(&good, ConditionType::UserSignIn),
        pair("True", "SignedIn")
    );
    world.document().sign_in = Some(sign_in(contract::Outcome::Failed, "ConsentRequired", Some(60)));
    let bad = world.reconcile();
    assert_eq!(changed(&good, &bad), ["UserSignIn"]);
    assert_eq!(
        status_and_reason(&bad, ConditionType::UserSignIn),
        pair("False", "ConsentRequired")
    );
    // A Pod that restarts has seen nobody, and takes nothing back.
    world.document().sign_in = Some(sign_in(contract::Outcome::Unknown, "NotObserved", None));
    assert_eq!(changed(&bad, &world.reconcile()), Vec::<&str>::new());
}

#[test]
fn without_users_user_sign_in_is_unknown() {
    for report in [
        None,
        Some(sign_in(contract::Outcome::Unknown, "NotObserved", None)),
    ] {
        let mut world = World::new();
        world.document().sign_in = report;
        let status = world.reconcile();
        assert_eq!(
            status_and_reason(&status, ConditionType::UserSignIn),
            pair("Unknown", "NotObserved")
        );
        assert_eq!(
            status_and_reason(&status, ConditionType::Ready),
            pair("True", "Ready")
        );
        assert_eq!(world.reconcile(), status);
    }
}

#[test]
fn the_newest_sign_in_of_several_pods_counts() {
    let mut world = World::new();
    let mut second = world.reports[0].clone();
    world.document().sign_in = Some(sign_in(contract::Outcome::Failed, "PermissionMissing", Some(60)));
    second.document.as_mut().unwrap().sign_in =
        Some(sign_in(contract::Outcome::Verified, "SignedIn", Some(70)));
    world.reports.push(second.clone());
    let mut idle = second;
    idle.document.as_mut().unwrap().sign_in = Some(sign_in(contract::Outcome::Unknown, "NotObserved", None));
    world.reports.push(idle);
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::UserSignIn),
        pair("True", "SignedIn")
    );
}
