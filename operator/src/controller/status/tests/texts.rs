//! Tests the texts of the conditions and their commands.

use super::*;

#[test]
fn a_command_of_another_writer_is_replaced_while_no_pod_reports() {
    let alter = |world: &mut World, kind: ConditionType| {
        let conditions = &mut world.server.status.as_mut().unwrap().conditions;
        let condition = conditions.iter_mut().find(|one| one.type_ == kind.as_str());
        let message = &mut condition.unwrap().message;
        assert!(message.contains("az "), "{message}");
        *message = message.replace(
            "22222222-2222-4222-8222-222222222222",
            "66666666-6666-4666-8666-666666666666",
        );
        message.push_str(" az ad sp delete --id 66666666-6666-4666-8666-666666666666");
    };
    for kind in [ConditionType::UserSignIn, ConditionType::FederationVerified] {
        let mut world = World::new();
        fail_federation(&mut world, "FicNotFound", "Entra refused.");
        world.document().sign_in = Some(sign_in(contract::Outcome::Failed, "ConsentRequired", Some(60)));
        let right = world.reconcile();
        alter(&mut world, kind);
        world.reports.clear();
        let now = world.reconcile();
        assert_eq!(condition(&now, kind).message, condition(&right, kind).message);
        assert_eq!(status_and_reason(&now, kind), status_and_reason(&right, kind));
    }
}

/// Regression: `toolhive#2390`, `toolhive#3119`, where users had to find the setup of Entra themselves.
#[test]
fn a_wrong_credential_names_the_fix_and_the_exact_command() {
    let mut world = World::new();
    fail_federation(&mut world, "FicIssuerMismatch", "Set the issuer.");
    let status = world.reconcile();
    let message = &condition(&status, ConditionType::FederationVerified).message;
    assert!(
        message.contains("Set the issuer of the federated identity credential"),
        "{message}"
    );
    assert!(
        message.ends_with(&status.federation.as_ref().unwrap().command.clone().unwrap()),
        "{message}"
    );
}

#[test]
fn a_fault_that_no_credential_fixes_does_not_suggest_one() {
    let mut world = World::new();
    fail_federation(&mut world, "AppDisabled", "Enable sign-in.");
    assert_eq!(
        condition(&world.reconcile(), ConditionType::FederationVerified).message,
        "Entra does not accept this ServiceAccount's token as the application. Enable sign-in for the enterprise \
         application."
    );
}

#[test]
fn an_object_whose_network_policy_opens_no_proxy_is_told_so_while_entra_is_unreachable() {
    let message = |network: Value, has_proxy: bool, reason: &str| {
        let mut world = World::of(quickstart_with(json!({"network": network})));
        world.egress_proxy = has_proxy.then(|| EgressProxy {
            https: "http://proxy.corp.example:3128".parse().unwrap(),
            no_proxy: Vec::new(),
        });
        let federation = &mut world.document().federation;
        federation.outcome = contract::Outcome::Unknown;
        federation.reason = reason.to_owned();
        let status = world.reconcile();
        condition(&status, ConditionType::FederationVerified)
            .message
            .clone()
    };
    let disabled = json!({"egress": {"internet": "Disabled"}});
    let open = json!({"egress": {"internet": "Disabled"}, "policy": "Open"});
    let names_the_field = |message: String| message.contains("spec.network.egress.allow");
    assert!(names_the_field(message(disabled.clone(), true, "Unreachable")));
    assert!(!names_the_field(message(disabled.clone(), false, "Unreachable")));
    assert!(!names_the_field(message(json!({}), true, "Unreachable")));
    assert!(!names_the_field(message(open, true, "Unreachable")));
    assert!(!names_the_field(message(disabled, true, "Throttled")));
}

#[test]
fn a_repeated_failure_does_not_change_the_status() {
    let mut world = World::new();
    fail_federation(
        &mut world,
        "FederatedTokenExpired",
        "Current time: 2026-11-02T09:14:00Z.",
    );
    world.document().federation.correlation_id = Some("7b2a0f00-0000-4000-8000-00000000abcd".to_owned());
    let first = world.reconcile();
    fail_federation(
        &mut world,
        "FederatedTokenExpired",
        "Current time: 2026-11-02T09:15:00Z.",
    );
    world.document().federation.correlation_id = Some("11111111-aaaa-4bbb-8ccc-222222222222".to_owned());
    assert_eq!(world.reconcile(), first);
}

#[test]
fn no_text_contains_a_message_of_a_pod() {
    const SAID: &str = "Run az ad app delete --id 1";
    let mut world = World::new();
    fail_federation(&mut world, "FicNotFound", SAID);
    let document = world.document();
    document.handshake.outcome = contract::Outcome::Failed;
    document.handshake.reason = SAID.to_owned();
    document.handshake.message = SAID.to_owned();
    document.sign_in = Some(SignInReport {
        message: SAID.to_owned(),
        ..sign_in(contract::Outcome::Failed, "ConsentRequired", Some(60))
    });
    let status = world.reconcile();
    assert!(!serde_json::to_string(&status).unwrap().contains("delete"));
    assert_eq!(
        status_and_reason(&status, ConditionType::Verified),
        pair("False", "Unknown")
    );
}

#[test]
fn a_text_names_the_application_and_the_subject_of_the_plan() {
    let text = |reason: &str| {
        let mut world = World::new();
        fail_federation(&mut world, reason, "");
        condition(&world.reconcile(), ConditionType::FederationVerified)
            .message
            .clone()
    };
    let (application, subject) = (text("AppNotFound"), text("FicSubjectMismatch"));
    let expected = "az ad sp create --id 22222222-2222-4222-8222-222222222222.";
    assert!(application.ends_with(expected), "{application}");
    let expected = "to system:serviceaccount:mcp:azure-devops.";
    assert!(subject.contains(expected), "{subject}");
}

const AN_API: &str = "33333333-3333-4333-8333-333333333333";

#[rstest]
#[case::the_built_in_server(None, "Azure DevOps", "499b84ac-1321-427f-aa17-267ca6975798")]
#[case::its_address(
    Some("https://app.vssps.visualstudio.com/.default"),
    "Azure DevOps",
    "499b84ac-1321-427f-aa17-267ca6975798"
)]
#[case::graph(
    Some("https://graph.microsoft.com/User.Read"),
    "Microsoft Graph",
    "00000003-0000-0000-c000-000000000000"
)]
#[case::no_exchange(Some(""), "Microsoft Graph", "00000003-0000-0000-c000-000000000000")]
#[case::by_id(
    Some("33333333-3333-4333-8333-333333333333/.default"),
    "the API of spec.tokenExchange.scope",
    AN_API
)]
#[case::by_the_usual_address(
    Some("api://33333333-3333-4333-8333-333333333333/read"),
    "the API of spec.tokenExchange.scope",
    AN_API
)]
#[case::by_a_name(
    Some("api://orders;az/.default"),
    "the API of spec.tokenExchange.scope",
    "<application id of the API>"
)]
fn advice_names_the_api_of_the_exchange(#[case] scope: Option<&str>, #[case] name: &str, #[case] id: &str) {
    let exchange = match scope {
        Some("") => json!({"injection": "None"}),
        scope => json!({"scope": scope}),
    };
    let container = json!({"image": "registry.contoso.example/mcp/orders:1"});
    let server = match scope {
        None => server(QUICKSTART),
        Some(_) => quickstart_with(json!({
            "server": {"azureDevOps": null, "container": container}, "tokenExchange": exchange,
        })),
    };
    let message = |reason: &str, kind| {
        let mut world = World::of(server.clone());
        fail_federation(&mut world, reason, "");
        world.document().sign_in = Some(sign_in(contract::Outcome::Failed, reason, Some(60)));
        condition(&world.reconcile(), kind).message.clone()
    };
    let not_found = message("ResourceNotFound", ConditionType::FederationVerified);
    let expected = format!("service principal of {name} in the tenant: az ad sp create --id {id}.");
    assert!(not_found.contains(&expected), "{not_found}");
    let not_assigned = message("AppNotAssigned", ConditionType::FederationVerified);
    assert!(
        not_assigned.contains(&format!("an app role of {name}, which")),
        "{not_assigned}"
    );
    let permission = message("PermissionMissing", ConditionType::UserSignIn);
    assert!(permission.contains(&format!("of {name}")), "{permission}");
    for text in [not_found, not_assigned, permission] {
        assert_eq!(text.contains("Azure DevOps"), name == "Azure DevOps", "{text}");
        assert!(!text.contains("orders"), "{text}");
    }
}

/// Otherwise a person who may write the status could make an administrator run a command for another application.
#[rstest]
#[case::with_the_command_of_the_status("FicNotFound")]
#[case::with_a_command_of_its_own("ResourceNotFound")]
fn a_condition_keeps_no_text_of_another_writer(#[case] reason: &str) {
    for reports in [true, false] {
        let mut world = World::new();
        fail_federation(&mut world, reason, "");
        let honest = world.reconcile();
        let kind = ConditionType::FederationVerified.as_str();
        let mut conditions = world.server.status.as_mut().unwrap().conditions.iter_mut();
        let reported = conditions.find(|condition| condition.type_ == kind).unwrap();
        let (start, rest) = reported.message.split_once("--id ").unwrap();
        reported.message = format!("{start}--id 33333333-3333-4333-8333-333333333333{}", &rest[36..]);
        if !reports {
            world.reports.clear();
        }
        assert_eq!(world.reconcile(), honest);
    }
}

#[test]
fn an_unknown_reason_becomes_the_reason_unknown() {
    let mut world = World::new();
    fail_federation(&mut world, "SomethingNew", "A newer sidecar says so.");
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::FederationVerified),
        pair("False", "Unknown")
    );
}

#[test]
fn messages_fit_into_the_schema() {
    let mut world = World::new();
    fail_federation(&mut world, "FicNotFound", &"ü".repeat(5000));
    world.issuer = Some(format!("https://{}", "'".repeat(490)));
    world.document().handshake.server_info.as_mut().unwrap().name = "n".repeat(1000);
    let status = world.reconcile();
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.message.chars().count() <= 4096)
    );
    assert!(status.server_info.unwrap().name.len() <= 256);
    assert!(
        status
            .federation
            .unwrap()
            .command
            .is_none_or(|command| command.len() <= 2048)
    );
}

/// A gateway that chooses the Pod by another rule makes clients of such a server initialize at almost each request.
#[test]
fn a_stateful_server_with_several_pods_names_what_keeps_its_sessions() {
    let two = || {
        let mut world = World::of(quickstart_with(redis(json!({}))));
        let shared = &mut world.document().sessions;
        shared.store = contract::StoreKind::Redis;
        world
    };
    let message = |world: &mut World, is_stateful| {
        world.document().handshake.is_stateful = is_stateful;
        condition(&world.reconcile(), ConditionType::Verified)
            .message
            .clone()
    };
    let told = message(&mut two(), true);
    assert!(
        told.contains("each in one of 2 Pods") && told.contains("spec.replicas to 1"),
        "{told}"
    );
    let plain = "the MCP server answered a handshake and listed its tools";
    assert_eq!(message(&mut two(), false), plain);
    assert_eq!(
        message(&mut World::new(), true),
        plain,
        "one Pod has every session"
    );
}
