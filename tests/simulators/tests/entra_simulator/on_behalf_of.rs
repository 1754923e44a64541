//! Tests the On-Behalf-Of exchange: assertions, consent, Conditional Access.

use behalf_simulators::entra::{Consent, MintRequest, Policy, RequestKind};
use behalf_simulators::people::{AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};
use behalf_simulators::sign_in::SignInError;

use crate::stage::{Stage, azure_devops_scope, changed};

#[tokio::test]
async fn the_assertion_must_be_a_users_token_for_this_application() {
    let stage = Stage::new().await;
    let mint = async |wanted: &MintRequest| stage.control.mint(wanted).await.unwrap();
    let user = MintRequest::for_user("ana");
    let cases = [
        (
            MintRequest {
                foreign_key: true,
                ..user.clone()
            },
            50_013,
        ),
        (user.clone().claim("iss", "https://issuer.example"), 50_013),
        (MintRequest::app_only(), 7_000_114),
        (
            MintRequest {
                id_token: true,
                ..user.clone()
            },
            240_002,
        ),
        (user.clone().claim("aud", "someone-else"), 500_131),
        (user.clone().resource(AZURE_DEVOPS_APPLICATION_ID), 500_131),
        (user.clone().expires_in(-1), 500_133),
    ];
    for (wanted, code) in cases {
        let token = mint(&wanted).await;
        stage
            .post(&stage.obo(&token))
            .await
            .refused(400, "invalid_grant", code);
    }
    stage
        .post(&stage.obo("garbage"))
        .await
        .refused(400, "invalid_grant", 50_013);
    stage.post(&stage.obo(&mint(&user).await)).await.granted();
}

#[tokio::test]
async fn an_expired_access_token_has_its_own_error() {
    let stage = Stage::new().await;
    stage
        .control
        .update_settings(|one| one.application_token_seconds = Some(60))
        .await
        .unwrap();
    let login = stage.tokens("ana", &[]).await;
    stage.control.set_clock_offset(61).await.unwrap();
    let form = stage.obo(&login.string("access_token"));
    stage.post(&form).await.refused(400, "invalid_grant", 500_133);
}

#[tokio::test]
async fn shape_is_complete() {
    let stage = Stage::new().await;
    let form = stage.obo("x");
    for missing in ["assertion", "requested_token_use", "scope"] {
        stage
            .post(&changed(form.clone(), &[(missing, "")]))
            .await
            .refused(400, "invalid_request", 900_144);
    }
    let other = changed(form, &[("requested_token_use", "impersonate")]);
    stage
        .post(&other)
        .await
        .refused(400, "invalid_request", 9_002_313);
}

#[tokio::test]
async fn consent_to_azure_devops_is_needed() {
    let stage = Stage::new().await;
    let login = stage.tokens("ana", &[]).await;
    let own = Consent::by_administrator(CLIENT_ID, CLIENT_ID);
    stage.control.put_consents(&[own]).await.unwrap();
    let answer = stage.post(&stage.obo(&login.string("access_token"))).await;
    answer.refused(400, "invalid_grant", 65_001);
    assert_eq!(answer.string("suberror"), "consent_required");
    // The login asks for everything declared, so the user can give what is missing.
    let again = stage.tokens("ana", &[("prompt", "consent")]).await;
    stage
        .post(&stage.obo(&again.string("access_token")))
        .await
        .granted();
}

#[tokio::test]
async fn offline_access_brings_a_refresh_token() {
    let stage = Stage::new().await;
    let login = stage.tokens("ana", &[]).await;
    let scope = format!("offline_access {}", azure_devops_scope());
    let form = changed(stage.obo(&login.string("access_token")), &[("scope", &scope)]);
    stage.post(&form).await.granted().string("refresh_token");
}

#[tokio::test]
async fn a_claims_challenge_is_met_only_by_a_login_with_those_claims() {
    let stage = Stage::new().await;
    stage
        .control
        .put_policies("ana", &[Policy::multi_factor()])
        .await
        .unwrap();
    let login = stage.tokens("ana", &[]).await;
    let challenged = stage.post(&stage.obo(&login.string("access_token"))).await;
    challenged.refused(400, "interaction_required", 50_076);
    let challenge = challenged.string("claims");
    assert!(challenge.starts_with('{'), "claims is a JSON text");

    let with_claims = changed(
        stage.obo(&login.string("access_token")),
        &[("claims", &challenge)],
    );
    stage
        .post(&with_claims)
        .await
        .refused(400, "interaction_required", 50_076);
    let refreshed = stage.post(&stage.refresh(&login.string("refresh_token"))).await;
    let form = stage.obo(&refreshed.string("access_token"));
    stage
        .post(&form)
        .await
        .refused(400, "interaction_required", 50_076);

    let again = stage.tokens("ana", &[("claims", &challenge)]).await;
    stage
        .post(&stage.obo(&again.string("access_token")))
        .await
        .granted();
    let kept = stage.post(&stage.refresh(&again.string("refresh_token"))).await;
    stage
        .post(&stage.obo(&kept.string("access_token")))
        .await
        .granted();
    let ben = stage.tokens("ben", &[]).await;
    stage
        .post(&stage.obo(&ben.string("access_token")))
        .await
        .granted();
}

#[tokio::test]
async fn a_block_is_final() {
    let stage = Stage::new().await;
    stage
        .control
        .put_policies("ana", &[Policy::blocked()])
        .await
        .unwrap();
    let login = stage.tokens("ana", &[]).await;
    let answer = stage.post(&stage.obo(&login.string("access_token"))).await;
    answer.refused(400, "invalid_grant", 53_003);
    assert_eq!(answer.string("suberror"), "message_only");
    assert!(answer.string("claims").contains("capolids"));
    let again = stage.tokens("ana", &[("claims", &answer.string("claims"))]).await;
    let form = stage.obo(&again.string("access_token"));
    stage.post(&form).await.refused(400, "invalid_grant", 53_003);
}

#[tokio::test]
async fn policies_can_be_judged_elsewhere() {
    let stage = Stage::new().await;
    let at_login = Policy::blocked().at([RequestKind::SignIn]);
    stage.control.put_policies("ana", &[at_login]).await.unwrap();
    assert!(matches!(
        stage.login("ana", &[]).await,
        Err(SignInError::Entra { code: 53_003, .. })
    ));
    let workload = Policy::blocked().at([RequestKind::ClientCredentials]);
    stage.control.put_policies(CLIENT_ID, &[workload]).await.unwrap();
    stage
        .post(&stage.probe())
        .await
        .refused(400, "invalid_grant", 53_003);
}
