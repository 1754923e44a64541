//! The On-Behalf-Of exchange and what Entra refuses of it.

use behalf_entra::{AZURE_DEVOPS_SCOPE, NextStep, OnBehalfOf, SignInReason};
use behalf_simulators::entra::{
    Consent, DORA, EMIL, IssuerFixture, MintRequest, Policy, RequestKind, ServiceAccountToken,
};
use behalf_simulators::people::{BEN, CLIENT_ID};
use futures::future::join_all;

use crate::tenant::{ANA, Tenant, assert_refused, sign_in_again};

#[tokio::test]
async fn the_exchange_yields_a_token_for_azure_devops() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let downstream = tenant.exchange(&tokens.access_token).await.unwrap();
    assert_ne!(downstream.access_token, tokens.access_token);
    assert!(downstream.refresh_token.is_none());
    let rejection = tenant
        .validator()
        .validate(&downstream.access_token)
        .await
        .unwrap_err();
    assert!(
        matches!(rejection, behalf_entra::TokenRejection::Audience),
        "it is not for us: {rejection:?}"
    );
}

#[tokio::test]
async fn users_are_exchanged_for_themselves() {
    let tenant = Tenant::start().await;
    let cache = OnBehalfOf::new(tenant.client.clone(), AZURE_DEVOPS_SCOPE, 1024 * 1024);
    let (ana, ben) = (tenant.token_of(ANA).await, tenant.token_of(BEN.user_name).await);
    let (first, second) = (
        cache.get(&ana, None).await.unwrap(),
        cache.get(&ben, None).await.unwrap(),
    );
    assert_ne!(first.access_token, second.access_token);
    let requests = tenant.control.requests_of(RequestKind::OnBehalfOf).await.unwrap();
    let users: Vec<_> = requests.iter().map(|request| request.user.as_deref()).collect();
    assert_eq!(users, [Some(ANA), Some(BEN.user_name)]);
}

#[tokio::test]
async fn a_hundred_calls_at_once_make_one_exchange() {
    let tenant = Tenant::start().await;
    let cache = OnBehalfOf::new(tenant.client.clone(), AZURE_DEVOPS_SCOPE, 1024 * 1024);
    let ana = tenant.token_of(ANA).await;
    let all = join_all((0..100).map(|_| cache.get(&ana, None))).await;
    assert!(all.into_iter().all(|token| token.is_ok()));
    assert_eq!(
        tenant
            .control
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn missing_consent_asks_for_the_consent_dialog() {
    let tenant = Tenant::start().await;
    let ana = tenant.token_of(ANA).await;
    tenant
        .control
        .put_consents(&[Consent::by_administrator(CLIENT_ID, CLIENT_ID)])
        .await
        .unwrap();
    let error = tenant.exchange(&ana).await.unwrap_err();
    let consent = NextStep::SignInAgain {
        claims: None,
        consent: true,
    };
    assert_refused(&error, 65_001, SignInReason::ConsentRequired, &consent);
}

#[tokio::test]
async fn a_claims_challenge_is_met_by_a_login_with_those_claims() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .put_policies(ANA, &[Policy::multi_factor()])
        .await
        .unwrap();
    let tokens = tenant.sign_in(ANA).await;
    let error = tenant.exchange(&tokens.access_token).await.unwrap_err();
    let NextStep::SignInAgain {
        claims: Some(claims),
        consent: false,
    } = error.next_step()
    else {
        panic!("{error}");
    };
    assert_eq!(error.sign_in_reason(), Some(SignInReason::StepUpRequired));
    let tokens = tenant.sign_in_with(ANA, Some(&claims)).await;
    tenant.exchange(&tokens.access_token).await.unwrap();
}

#[tokio::test]
async fn a_blocked_user_is_not_sent_to_a_login() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .put_policies(ANA, &[Policy::blocked()])
        .await
        .unwrap();
    let error = tenant.exchange(&tenant.token_of(ANA).await).await.unwrap_err();
    assert!(
        error.refusal().unwrap().claims.is_some(),
        "claims must not lead to a login here"
    );
    assert_refused(&error, 53_003, SignInReason::PolicyBlocked, &NextStep::Blocked);
}

#[tokio::test]
async fn token_protection_is_not_answered_with_a_login() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .put_policies(ANA, &[Policy::token_protection()])
        .await
        .unwrap();
    let error = tenant.exchange(&tenant.token_of(ANA).await).await.unwrap_err();
    assert_refused(&error, 530_084, SignInReason::TokenProtection, &NextStep::Blocked);
    assert!(error.hint().contains("token protection"), "{}", error.hint());
}

#[tokio::test]
async fn an_unassigned_or_disabled_user_is_not_sent_to_a_login() {
    let tenant = Tenant::start().await;
    let error = tenant
        .exchange(&tenant.token_of(DORA.user_name).await)
        .await
        .unwrap_err();
    assert_refused(&error, 50_105, SignInReason::UserNotAssigned, &NextStep::Blocked);
    let error = tenant
        .exchange(&tenant.token_of(EMIL.user_name).await)
        .await
        .unwrap_err();
    assert_refused(&error, 50_057, SignInReason::UserNotAllowed, &NextStep::Blocked);
}

#[tokio::test]
async fn only_a_users_own_good_token_can_be_exchanged() {
    let tenant = Tenant::start().await;
    let ana = || MintRequest::for_user(ANA);

    let expired = tenant.mint(&ana().expires_in(-10)).await;
    let error = tenant.exchange(&expired).await.unwrap_err();
    assert_refused(&error, 500_133, SignInReason::UserTokenStale, &sign_in_again());
    assert!(error.refusal().unwrap().user_token_refused());

    let forged = tenant
        .mint(&MintRequest {
            foreign_key: true,
            ..ana()
        })
        .await;
    let error = tenant.exchange(&forged).await.unwrap_err();
    assert_refused(&error, 50_013, SignInReason::UserTokenStale, &sign_in_again());

    let foreign = tenant
        .mint(&ana().resource("499b84ac-1321-427f-aa17-267ca6975798"))
        .await;
    let error = tenant.exchange(&foreign).await.unwrap_err();
    assert_refused(
        &error,
        500_131,
        SignInReason::AppMisconfigured,
        &NextStep::Blocked,
    );

    let id_token = tenant
        .mint(&MintRequest {
            id_token: true,
            ..ana()
        })
        .await;
    let error = tenant.exchange(&id_token).await.unwrap_err();
    assert_refused(
        &error,
        240_002,
        SignInReason::AppMisconfigured,
        &NextStep::Blocked,
    );

    let app = tenant.mint(&MintRequest::app_only()).await;
    let error = tenant.exchange(&app).await.unwrap_err();
    assert_refused(&error, 7_000_114, SignInReason::UsersOnly, &NextStep::Blocked);
}

#[tokio::test]
async fn a_broken_federation_is_not_reported_as_a_fault_of_the_user() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    tenant.project(&ServiceAccountToken::of(IssuerFixture::SUBJECT).foreign_key());
    for error in [
        tenant.refresh(&tokens).await.unwrap_err(),
        tenant.exchange(&tokens.access_token).await.unwrap_err(),
    ] {
        assert_eq!(error.next_step(), NextStep::ClientAuthentication);
        assert_eq!(error.sign_in_reason(), None);
    }
    tenant.project(&ServiceAccountToken::of(IssuerFixture::SUBJECT));
    // Its success ends the pause that the refusal began.
    tenant.probe().await.unwrap();
    tenant.refresh(&tokens).await.unwrap();
}
