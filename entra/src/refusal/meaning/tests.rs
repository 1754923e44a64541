//! Tests of the meaning of refusals.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn refusal(body: &Value) -> Refusal {
    Refusal::from_body(None, body.to_string().as_bytes()).unwrap()
}

fn with(error: &str, code: u32) -> Refusal {
    refusal(&json!({"error": error, "error_codes": [code]}))
}

fn sign_in() -> NextStep {
    NextStep::SignInAgain {
        claims: None,
        consent: false,
    }
}

// Without a number, the standard fields decide.
#[rstest]
#[case("invalid_client", NextStep::ClientAuthentication)]
#[case("unauthorized_client", NextStep::ClientAuthentication)]
#[case("invalid_grant", sign_in())]
#[case("interaction_required", sign_in())]
#[case("login_required", sign_in())]
#[case("access_denied", NextStep::Blocked)]
#[case("temporarily_unavailable", NextStep::RetryLater { after: None })]
#[case("server_error", NextStep::RetryLater { after: None })]
#[case("invalid_scope", NextStep::OurBug)]
#[case("invalid_request", NextStep::OurBug)]
#[case("invalid_target", NextStep::OurBug)]
#[case("unsupported_grant_type", NextStep::OurBug)]
#[case("something_new", NextStep::OurBug)]
fn the_error_decides_the_next_step(#[case] error: &str, #[case] expected: NextStep) {
    assert_eq!(with(error, 1).next_step(), expected);
}

#[test]
fn claims_are_kept_for_the_next_login() {
    let claims = r#"{"access_token":{"polids":{}}}"#;
    let refusal = refusal(&json!({"error": "interaction_required", "claims": claims}));
    let expected = NextStep::SignInAgain {
        claims: Some(claims.to_owned()),
        consent: false,
    };
    assert_eq!(refusal.next_step(), expected);
}

#[test]
fn a_message_only_refusal_is_final_even_with_claims() {
    let refusal = refusal(&json!({
        "error": "interaction_required", "suberror": "message_only", "claims": "{\"access_token\":{}}",
    }));
    assert_eq!(refusal.next_step(), NextStep::Blocked);
}

#[test]
fn missing_consent_asks_for_the_consent_dialog() {
    let refusal = refusal(&json!({"error": "invalid_grant", "suberror": "consent_required"}));
    assert_eq!(
        refusal.next_step(),
        NextStep::SignInAgain {
            claims: None,
            consent: true
        }
    );
    assert_eq!(refusal.sign_in_reason(), Some(SignInReason::ConsentRequired));
}

#[test]
fn a_device_condition_is_final_only_without_claims() {
    assert_eq!(
        with("interaction_required", 53_000).next_step(),
        NextStep::Blocked
    );
    let claims = "{\"access_token\":{}}";
    let with_claims =
        refusal(&json!({"error": "interaction_required", "error_codes": [53_000], "claims": claims}));
    let expected = NextStep::SignInAgain {
        claims: Some(claims.to_owned()),
        consent: false,
    };
    assert_eq!(with_claims.next_step(), expected);
}

#[rstest]
#[case(700_211, "invalid_client", FederationReason::FicIssuerMismatch)]
#[case(700_212, "invalid_client", FederationReason::FicAudienceMismatch)]
#[case(700_213, "invalid_client", FederationReason::FicSubjectMismatch)]
#[case(7_002_137, "invalid_client", FederationReason::FicCaseMismatch)]
#[case(7_002_138, "invalid_client", FederationReason::FicCaseMismatch)]
#[case(70_021, "invalid_request", FederationReason::FicNotFound)]
#[case(70_025, "invalid_client", FederationReason::FicNotFound)]
#[case(700_231, "invalid_client", FederationReason::ChainedFederation)]
#[case(700_222, "invalid_client", FederationReason::WrongAssertion)]
#[case(700_229, "invalid_client", FederationReason::WrongAssertion)]
#[case(700_024, "invalid_client", FederationReason::FederatedTokenExpired)]
#[case(700_027, "invalid_client", FederationReason::FederatedTokenSignature)]
#[case(50_012, "invalid_grant", FederationReason::FederatedTokenSignature)]
#[case(90_061, "invalid_request", FederationReason::IssuerUnreachable)]
#[case(50_166, "invalid_request", FederationReason::IssuerUnreachable)]
#[case(501_661, "invalid_request", FederationReason::IssuerUnreachable)]
#[case(700_016, "unauthorized_client", FederationReason::AppNotFound)]
#[case(700_011, "unauthorized_client", FederationReason::AppNotFound)]
#[case(70_001, "unauthorized_client", FederationReason::AppDisabled)]
#[case(7_000_112, "unauthorized_client", FederationReason::AppDisabled)]
#[case(90_002, "invalid_request", FederationReason::TenantNotFound)]
#[case(90_038, "invalid_request", FederationReason::TenantNotFound)]
#[case(700_025, "invalid_client", FederationReason::PublicClient)]
#[case(500_011, "invalid_resource", FederationReason::ResourceNotFound)]
fn a_refused_client_has_its_reason(#[case] code: u32, #[case] error: &str, #[case] reason: FederationReason) {
    let refusal = with(error, code);
    assert_eq!(
        refusal.federation_finding(),
        FederationFinding {
            verdict: Verdict::False,
            reason
        }
    );
    assert_eq!(refusal.next_step(), NextStep::ClientAuthentication);
    assert_eq!(refusal.sign_in_reason(), None);
}

#[rstest]
#[case(501_051, "invalid_grant", FederationReason::AppNotAssigned)]
#[case(53_003, "invalid_grant", FederationReason::PolicyBlocked)]
#[case(530_032, "invalid_grant", FederationReason::PolicyBlocked)]
#[case(530_035, "interaction_required", FederationReason::PolicyBlocked)]
#[case(53_011, "interaction_required", FederationReason::PolicyBlocked)]
#[case(530_084, "invalid_grant", FederationReason::PolicyBlocked)]
#[case(90_033, "temporarily_unavailable", FederationReason::Unreachable)]
#[case(1, "temporarily_unavailable", FederationReason::Unreachable)]
#[case(1, "invalid_grant", FederationReason::Unknown)]
fn a_policy_or_an_outage_leaves_the_federation_unknown(
    #[case] code: u32,
    #[case] error: &str,
    #[case] reason: FederationReason,
) {
    let finding = with(error, code).federation_finding();
    assert_eq!(
        finding,
        FederationFinding {
            verdict: Verdict::Unknown,
            reason
        }
    );
}

#[test]
fn an_unlisted_refusal_of_the_client_still_contradicts_the_federation() {
    let finding = with("invalid_client", 1).federation_finding();
    assert_eq!(
        finding,
        FederationFinding {
            verdict: Verdict::False,
            reason: FederationReason::Unknown
        }
    );
}

#[rstest]
#[case(65_001, SignInReason::ConsentRequired, false)]
#[case(90_094, SignInReason::AdminConsentRequired, true)]
#[case(90_095, SignInReason::AdminConsentRequired, true)]
#[case(65_004, SignInReason::ConsentDeclined, false)]
#[case(90_008, SignInReason::AppMisconfigured, true)]
#[case(90_009, SignInReason::AppMisconfigured, true)]
#[case(240_002, SignInReason::AppMisconfigured, true)]
#[case(500_131, SignInReason::AppMisconfigured, true)]
#[case(650_057, SignInReason::PermissionMissing, true)]
#[case(650_056, SignInReason::PermissionMissing, true)]
#[case(65_005, SignInReason::PermissionMissing, true)]
#[case(650_052, SignInReason::PermissionMissing, true)]
#[case(50_105, SignInReason::UserNotAssigned, true)]
#[case(7_000_114, SignInReason::UsersOnly, true)]
#[case(7_000_113, SignInReason::UsersOnly, true)]
#[case(50_020, SignInReason::UserNotAllowed, true)]
#[case(50_034, SignInReason::UserNotAllowed, true)]
#[case(50_057, SignInReason::UserNotAllowed, true)]
#[case(90_072, SignInReason::UserNotAllowed, true)]
#[case(500_212, SignInReason::UserNotAllowed, true)]
#[case(500_213, SignInReason::UserNotAllowed, true)]
#[case(50_076, SignInReason::StepUpRequired, false)]
#[case(50_079, SignInReason::StepUpRequired, false)]
#[case(50_072, SignInReason::StepUpRequired, false)]
#[case(50_074, SignInReason::StepUpRequired, false)]
#[case(50_078, SignInReason::StepUpRequired, false)]
#[case(50_158, SignInReason::StepUpRequired, false)]
#[case(50_097, SignInReason::DeviceCondition, true)]
#[case(53_000, SignInReason::DeviceCondition, true)]
#[case(53_001, SignInReason::DeviceCondition, true)]
#[case(53_002, SignInReason::DeviceCondition, true)]
#[case(50_131, SignInReason::DeviceCondition, true)]
#[case(53_003, SignInReason::PolicyBlocked, true)]
#[case(530_032, SignInReason::PolicyBlocked, true)]
#[case(530_035, SignInReason::PolicyBlocked, true)]
#[case(53_011, SignInReason::PolicyBlocked, true)]
#[case(530_084, SignInReason::TokenProtection, true)]
#[case(70_043, SignInReason::SignInFrequency, false)]
#[case(500_133, SignInReason::UserTokenStale, false)]
#[case(50_013, SignInReason::UserTokenStale, false)]
#[case(54_005, SignInReason::CodeUnusable, false)]
#[case(501_481, SignInReason::CodeUnusable, false)]
#[case(700_005, SignInReason::CodeUnusable, false)]
#[case(70_008, SignInReason::SessionEnded, false)]
#[case(700_082, SignInReason::SessionEnded, false)]
#[case(700_084, SignInReason::SessionEnded, false)]
#[case(50_173, SignInReason::SessionEnded, false)]
#[case(50_089, SignInReason::SessionEnded, false)]
#[case(70_000, SignInReason::GrantMalformed, false)]
#[case(9_002_313, SignInReason::GrantMalformed, false)]
fn names_the_reason_of_a_refused_sign_in(
    #[case] code: u32,
    #[case] reason: SignInReason,
    #[case] final_refusal: bool,
) {
    let refusal = with("invalid_grant", code);
    assert_eq!(refusal.sign_in_reason(), Some(reason));
    let expected = if final_refusal {
        NextStep::Blocked
    } else {
        sign_in()
    };
    assert_eq!(refusal.next_step(), expected);
    assert_eq!(
        refusal.user_token_refused(),
        reason == SignInReason::UserTokenStale
    );
}

#[rstest]
#[case(9_010_010, "invalid_target")]
#[case(901_002, "invalid_request")]
#[case(700_022, "invalid_scope")]
#[case(70_011, "invalid_scope")]
#[case(28_002, "invalid_scope")]
#[case(28_003, "invalid_scope")]
#[case(900_144, "invalid_request")]
fn a_request_of_wrong_shape_is_our_bug(#[case] code: u32, #[case] error: &str) {
    assert_eq!(with(error, code).next_step(), NextStep::OurBug);
}

#[rstest]
#[case(7_000_215)]
#[case(7_000_218)]
#[case(7_000_222)]
fn a_complaint_about_secrets_is_a_refused_client(#[case] code: u32) {
    let refusal = with("invalid_client", code);
    assert_eq!(refusal.next_step(), NextStep::ClientAuthentication);
    assert_eq!(refusal.federation_finding().reason, FederationReason::Unknown);
}

#[rstest]
#[case(50_033)]
#[case(90_006)]
#[case(90_012)]
#[case(90_024)]
#[case(90_033)]
#[case(90_055)]
#[case(90_090)]
fn passes_by_itself(#[case] code: u32) {
    let refusal = with("invalid_grant", code);
    assert!(refusal.is_transient());
    assert_eq!(refusal.next_step(), NextStep::RetryLater { after: None });
}

#[test]
fn a_detected_loop_causes_no_further_request() {
    let refusal = with("invalid_grant", 50_196);
    assert!(!refusal.is_transient());
    assert_eq!(refusal.next_step(), NextStep::RetryLater { after: None });
}
