//! Answers that Entra really gave. `tests/recorded/README.md` names their sources.

use behalf_entra::{EntraError, FederationReason, NextStep, SignInReason, Verdict};
use rstest::rstest;
use serde_json::Value;
use wiremock::ResponseTemplate;

use crate::entra::{Entra, secret};

fn body(file: &str) -> Value {
    let path = format!("{}/tests/recorded/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The error of an On-Behalf-Of request that is answered with a recorded body.
async fn error(status: u16, file: &str) -> EntraError {
    let entra = Entra::start().await;
    let answer = ResponseTemplate::new(status).set_body_json(body(file));
    entra.answer(answer).await;
    let user = secret("user");
    let asked = entra
        .client
        .on_behalf_of(&user, behalf_entra::AZURE_DEVOPS_SCOPE, None);
    let error = asked.await.unwrap_err();
    let refusal = error.refusal().unwrap();
    let code = u32::try_from(body(file)["error_codes"][0].as_u64().unwrap()).unwrap();
    assert_eq!(refusal.codes, [code]);
    let line = &refusal.description_first_line;
    assert!(
        line.starts_with(&format!("AADSTS{code}: ")) && !line.contains("Trace ID"),
        "{line}"
    );
    assert_eq!(
        refusal.correlation_id.as_deref(),
        body(file)["correlation_id"].as_str()
    );
    error
}

#[rstest]
#[case(401, "70025-no-credential.json", FederationReason::FicNotFound)]
#[case(400, "70021-no-record.json", FederationReason::FicNotFound)]
#[case(401, "700211-issuer.json", FederationReason::FicIssuerMismatch)]
#[case(401, "700024-expired-assertion.json", FederationReason::FederatedTokenExpired)]
#[case(401, "700231-chained.json", FederationReason::ChainedFederation)]
#[case(401, "700025-public-client.json", FederationReason::PublicClient)]
#[tokio::test]
async fn a_refused_application_has_its_reason(
    #[case] status: u16,
    #[case] file: &str,
    #[case] reason: FederationReason,
) {
    let error = error(status, file).await;
    let finding = error.federation_finding();
    assert_eq!((finding.verdict, finding.reason), (Verdict::False, reason));
    assert_eq!(error.next_step(), NextStep::ClientAuthentication);
}

#[rstest]
#[case("53003-blocked.json", SignInReason::PolicyBlocked)]
#[case("530084-token-protection.json", SignInReason::TokenProtection)]
#[case("500131-assertion-audience.json", SignInReason::AppMisconfigured)]
#[tokio::test]
async fn a_refusal_that_a_login_cannot_fix_asks_for_no_login(
    #[case] file: &str,
    #[case] reason: SignInReason,
) {
    let error = error(400, file).await;
    assert_eq!(error.sign_in_reason(), Some(reason));
    assert_eq!(error.next_step(), NextStep::Blocked);
}

#[tokio::test]
async fn missing_consent_asks_for_consent() {
    let expected = NextStep::SignInAgain {
        claims: None,
        consent: true,
    };
    assert_eq!(error(400, "65001-consent.json").await.next_step(), expected);
}

#[tokio::test]
async fn a_required_second_factor_keeps_the_claims_of_entra() {
    let file = "50076-multi-factor.json";
    let expected = NextStep::SignInAgain {
        claims: body(file)["claims"].as_str().map(str::to_owned),
        consent: false,
    };
    assert_eq!(error(400, file).await.next_step(), expected);
}

#[tokio::test]
async fn a_foreign_resource_is_our_bug() {
    assert_eq!(
        error(400, "9010010-resource.json").await.next_step(),
        NextStep::OurBug
    );
}

#[tokio::test]
async fn tokens_are_read() {
    let entra = Entra::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(body("tokens.json"));
    entra.answer(answer).await;
    let old = secret("rt");
    let tokens = entra.client.refresh(&old, "scope").await.unwrap();
    assert_eq!(tokens.refresh_token.unwrap().expose(), "1.AXo");
    assert!(tokens.id_token.is_some());
}

#[test]
fn every_recorded_answer_names_its_source() {
    let folder = format!("{}/tests/recorded", env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || readme.contains(&format!("`{name}`")),
            "{name}"
        );
    }
}
