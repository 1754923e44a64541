//! Tests refresh tokens: reuse, revocation, age, sign-in frequency.

use behalf_simulators::entra::Policy;
use behalf_simulators::people::CLIENT_ID;

use crate::stage::{Stage, azure_devops_scope, changed, claims};

#[tokio::test]
async fn the_old_refresh_token_keeps_working() {
    let stage = Stage::new().await;
    let first = stage.tokens("ana", &[]).await.string("refresh_token");
    let second = stage.post(&stage.refresh(&first)).await.string("refresh_token");
    let third = stage.post(&stage.refresh(&first)).await.string("refresh_token");
    assert!(first != second && second != third);
    stage.post(&stage.refresh(&second)).await.granted();
}

#[tokio::test]
async fn revocation_ends_every_refresh_token_of_the_user() {
    let stage = Stage::new().await;
    let ana = stage.tokens("ana", &[]).await.string("refresh_token");
    let ben = stage.tokens("ben", &[]).await.string("refresh_token");
    stage.control.revoke("ana").await.unwrap();
    stage
        .post(&stage.refresh(&ana))
        .await
        .refused(400, "invalid_grant", 50_173);
    stage.post(&stage.refresh(&ben)).await.granted();
    stage.tokens("ana", &[]).await;
}

#[tokio::test]
async fn ninety_idle_days_end_a_refresh_token() {
    let stage = Stage::new().await;
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    stage.control.set_clock_offset(89 * 86_400).await.unwrap();
    // The clock offset does not change the cluster's tokens, so the assertion is issued for that time.
    let later = behalf_simulators::entra::ServiceAccountToken {
        issued_seconds: 89 * 86_400,
        expires_seconds: 200 * 86_400,
        ..behalf_simulators::entra::ServiceAccountToken::of(behalf_simulators::entra::IssuerFixture::SUBJECT)
    };
    let assertion = stage.issuer.mint(&later).unwrap();
    let form = changed(stage.refresh(&token), &[("client_assertion", &assertion)]);
    stage.post(&form).await.granted();
    stage.control.set_clock_offset(180 * 86_400).await.unwrap();
    stage.post(&form).await.refused(400, "invalid_grant", 700_082);
}

#[tokio::test]
async fn inactivity_can_be_commanded() {
    let stage = Stage::new().await;
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    stage.control.expire_refresh_tokens("ana").await.unwrap();
    stage
        .post(&stage.refresh(&token))
        .await
        .refused(400, "invalid_grant", 700_082);
}

#[tokio::test]
async fn a_foreign_or_malformed_refresh_token_is_refused() {
    let stage = Stage::new().await;
    stage
        .post(&stage.refresh("nonsense"))
        .await
        .refused(400, "invalid_grant", 70_000);
    let missing = changed(stage.refresh("x"), &[("refresh_token", "")]);
    stage
        .post(&missing)
        .await
        .refused(400, "invalid_request", 900_144);
}

#[tokio::test]
async fn sign_in_frequency_is_met_by_a_new_login() {
    let stage = Stage::new().await;
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    let issued = stage.control.requests().await.unwrap().last().unwrap().at;
    stage
        .control
        .put_policies("ana", &[Policy::login_since(issued)])
        .await
        .unwrap();
    stage
        .post(&stage.refresh(&token))
        .await
        .refused(400, "invalid_grant", 70_043);
    let fresh = stage.tokens("ana", &[]).await.string("refresh_token");
    stage.post(&stage.refresh(&fresh)).await.granted();
}

#[tokio::test]
async fn a_disabled_or_unassigned_user_gets_nothing_more() {
    let stage = Stage::new().await;
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    let name = "ana@contoso.example";
    stage
        .control
        .update_user(name, |user| user.assigned_to.clear())
        .await
        .unwrap();
    stage
        .post(&stage.refresh(&token))
        .await
        .refused(400, "invalid_grant", 50_105);
    stage
        .control
        .update_user(name, |user| user.enabled = false)
        .await
        .unwrap();
    stage
        .post(&stage.refresh(&token))
        .await
        .refused(400, "invalid_grant", 50_057);
    stage.control.delete_user(name).await.unwrap();
    stage
        .post(&stage.refresh(&token))
        .await
        .refused(400, "invalid_grant", 50_034);
}

#[tokio::test]
async fn withdrawn_consent_is_seen_at_refresh() {
    let stage = Stage::new().await;
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    stage.control.put_consents(&[]).await.unwrap();
    let answer = stage.post(&stage.refresh(&token)).await;
    answer.refused(400, "invalid_grant", 65_001);
    assert_eq!(answer.string("suberror"), "consent_required");
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_no_resource() {
    let stage = Stage::new().await;
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    let form = changed(stage.refresh(&token), &[("scope", &azure_devops_scope())]);
    let answer = stage.post(&form).await;
    let direct = claims(&answer.granted().string("access_token"));
    assert_eq!(
        direct["sim_grant"], "refreshToken",
        "a token that no exchange made is marked"
    );
    assert_ne!(direct["aud"], CLIENT_ID);
}
