//! A user's way: login, refresh, exchange, and everything that can be refused on it.

use behalf_entra::{
    AZURE_DEVOPS_SCOPE, EntraError, NextStep, OnBehalfOf, Refusal, Secret, SignInReason, TokenSet,
};
use behalf_simulators::entra::{
    Consent, DORA, EMIL, Effect, Fault, IssuerFixture, MintRequest, Policy, RequestKind, ServiceAccountToken,
};
use behalf_simulators::people::{ANA as ANA_PERSON, BEN, CLIENT_ID};
use futures::future::join_all;

use crate::tenant::{Tenant, VERIFIER};

const ANA: &str = ANA_PERSON.user_name;

async fn exchange(tenant: &Tenant, token: &Secret) -> Result<TokenSet, EntraError> {
    tenant.client.on_behalf_of(token, AZURE_DEVOPS_SCOPE, None).await
}

fn assert_refused(error: &EntraError, code: u32, reason: SignInReason, next_step: &NextStep) {
    assert_eq!(error.refusal().unwrap().codes, [code], "{error}");
    assert_eq!(error.sign_in_reason(), Some(reason));
    assert_eq!(&error.next_step(), next_step);
}

fn sign_in_again() -> NextStep {
    NextStep::SignInAgain {
        claims: None,
        consent: false,
    }
}

#[tokio::test]
async fn a_login_ends_with_tokens_of_that_user() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let validator = tenant.validator();
    let user = validator.validate(&tokens.access_token).await.unwrap();
    assert_eq!(user.oid, ANA_PERSON.object_id);
    let identity = validator
        .validate_id_token(tokens.id_token.as_ref().unwrap(), "n1")
        .await
        .unwrap();
    assert_eq!((identity.tid, identity.oid), (user.tid, user.oid));
    assert!(tokens.refresh_token.is_some());
}

#[tokio::test]
async fn the_whole_way_needs_no_secret_and_names_no_resource() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let tokens = tenant.refresh(&tokens).await.unwrap();
    exchange(&tenant, &tokens.access_token).await.unwrap();
    tenant.probe().await.unwrap();
    let requests = tenant.control.requests().await.unwrap();
    let requests: Vec<_> = requests
        .into_iter()
        .filter(|request| request.kind.is_token())
        .collect();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert!(request.succeeded(), "{request:?}");
        assert!(
            !request.has("client_secret") && !request.has("resource"),
            "{request:?}"
        );
        assert_eq!(request.authorization_scheme, None);
        assert_eq!(request.assertion.unwrap().subject, IssuerFixture::SUBJECT);
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_with_its_verifier() {
    let tenant = Tenant::start().await;
    let code = tenant.callback(ANA, "next", None).await["code"].clone();
    let error = tenant.redeem(&code, "another verifier").await.unwrap_err();
    assert_refused(&error, 501_481, SignInReason::CodeUnusable, &sign_in_again());
    tenant.redeem(&code, VERIFIER).await.unwrap();
    let error = tenant.redeem(&code, VERIFIER).await.unwrap_err();
    assert_refused(&error, 54_005, SignInReason::CodeUnusable, &sign_in_again());
}

#[tokio::test]
async fn a_declined_consent_comes_back_on_the_redirect() {
    let tenant = Tenant::start().await;
    let callback = tenant.callback(ANA, "cancel", None).await;
    let description = callback.get("error_description").map(String::as_str);
    let refusal = Refusal::from_redirect(&callback["error"], description);
    assert_eq!(
        (refusal.error.as_str(), refusal.codes.as_slice()),
        ("access_denied", &[65_004][..])
    );
    assert_eq!(refusal.sign_in_reason(), Some(SignInReason::ConsentDeclined));
    assert_eq!(refusal.next_step(), NextStep::Blocked);
}

#[tokio::test]
async fn the_old_refresh_token_keeps_working() {
    let tenant = Tenant::start().await;
    let first = tenant.sign_in(ANA).await;
    let second = tenant.refresh(&first).await.unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    tenant.refresh(&first).await.unwrap();
    tenant.refresh(&second).await.unwrap();
}

#[tokio::test]
async fn a_revoked_user_has_to_sign_in_again() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    tenant.control.revoke(ANA).await.unwrap();
    let error = tenant.refresh(&tokens).await.unwrap_err();
    assert_refused(&error, 50_173, SignInReason::SessionEnded, &sign_in_again());
}

#[tokio::test]
async fn an_inactive_user_has_to_sign_in_again() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    tenant.control.expire_refresh_tokens(ANA).await.unwrap();
    let error = tenant.refresh(&tokens).await.unwrap_err();
    assert_refused(&error, 700_082, SignInReason::SessionEnded, &sign_in_again());
}

#[tokio::test]
async fn a_foreign_refresh_token_is_refused() {
    let tenant = Tenant::start().await;
    let error = tenant
        .client
        .refresh(&Secret::new("1.AXo"), "openid", None)
        .await
        .unwrap_err();
    assert_eq!(error.next_step(), sign_in_again(), "{error}");
}

#[tokio::test]
async fn the_exchange_yields_a_token_for_azure_devops() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let downstream = exchange(&tenant, &tokens.access_token).await.unwrap();
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
    let error = exchange(&tenant, &ana).await.unwrap_err();
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
    let error = exchange(&tenant, &tokens.access_token).await.unwrap_err();
    let NextStep::SignInAgain {
        claims: Some(claims),
        consent: false,
    } = error.next_step()
    else {
        panic!("{error}");
    };
    assert_eq!(error.sign_in_reason(), Some(SignInReason::StepUpRequired));
    let tokens = tenant.sign_in_with(ANA, Some(&claims)).await;
    exchange(&tenant, &tokens.access_token).await.unwrap();
}

#[tokio::test]
async fn a_blocked_user_is_not_sent_to_a_login() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .put_policies(ANA, &[Policy::blocked()])
        .await
        .unwrap();
    let error = exchange(&tenant, &tenant.token_of(ANA).await).await.unwrap_err();
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
    let error = exchange(&tenant, &tenant.token_of(ANA).await).await.unwrap_err();
    assert_refused(&error, 530_084, SignInReason::TokenProtection, &NextStep::Blocked);
    assert!(error.hint().contains("token protection"), "{}", error.hint());
}

#[tokio::test]
async fn an_unassigned_or_disabled_user_is_not_sent_to_a_login() {
    let tenant = Tenant::start().await;
    let error = exchange(&tenant, &tenant.token_of(DORA.user_name).await)
        .await
        .unwrap_err();
    assert_refused(&error, 50_105, SignInReason::UserNotAssigned, &NextStep::Blocked);
    let error = exchange(&tenant, &tenant.token_of(EMIL.user_name).await)
        .await
        .unwrap_err();
    assert_refused(&error, 50_057, SignInReason::UserNotAllowed, &NextStep::Blocked);
}

#[tokio::test]
async fn only_a_users_own_good_token_can_be_exchanged() {
    let tenant = Tenant::start().await;
    let ana = || MintRequest::for_user(ANA);

    let expired = tenant.mint(&ana().expires_in(-10)).await;
    let error = exchange(&tenant, &expired).await.unwrap_err();
    assert_refused(&error, 500_133, SignInReason::UserTokenStale, &sign_in_again());
    assert!(error.refusal().unwrap().user_token_refused());

    let forged = tenant
        .mint(&MintRequest {
            foreign_key: true,
            ..ana()
        })
        .await;
    let error = exchange(&tenant, &forged).await.unwrap_err();
    assert_refused(&error, 50_013, SignInReason::UserTokenStale, &sign_in_again());

    let foreign = tenant
        .mint(&ana().resource("499b84ac-1321-427f-aa17-267ca6975798"))
        .await;
    let error = exchange(&tenant, &foreign).await.unwrap_err();
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
    let error = exchange(&tenant, &id_token).await.unwrap_err();
    assert_refused(
        &error,
        240_002,
        SignInReason::AppMisconfigured,
        &NextStep::Blocked,
    );

    let app = tenant.mint(&MintRequest::app_only()).await;
    let error = exchange(&tenant, &app).await.unwrap_err();
    assert_refused(&error, 7_000_114, SignInReason::UsersOnly, &NextStep::Blocked);
}

#[tokio::test]
async fn a_broken_federation_does_not_blame_the_user() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    tenant.project(&ServiceAccountToken::of(IssuerFixture::SUBJECT).foreign_key());
    for error in [
        tenant.refresh(&tokens).await.unwrap_err(),
        exchange(&tenant, &tokens.access_token).await.unwrap_err(),
    ] {
        assert_eq!(error.next_step(), NextStep::ClientAuthentication);
        assert_eq!(error.sign_in_reason(), None);
    }
    tenant.project(&ServiceAccountToken::of(IssuerFixture::SUBJECT));
    tenant.refresh(&tokens).await.unwrap();
}

#[tokio::test]
async fn an_outage_of_one_request_goes_unnoticed() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    for effect in [
        Effect::Status {
            status: 503,
            retry_after_seconds: Some(0),
        },
        Effect::Html { status: 502 },
        Effect::Reset,
    ] {
        let fault = Fault::once([RequestKind::RefreshToken], effect.clone());
        tenant.control.add_fault(&fault).await.unwrap();
        tenant
            .refresh(&tokens)
            .await
            .unwrap_or_else(|error| panic!("{effect:?}: {error}"));
    }
}

#[tokio::test]
async fn an_outage_that_lasts_ends_nobodys_session() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    for effect in [
        Effect::Status {
            status: 503,
            retry_after_seconds: None,
        },
        Effect::Html { status: 200 },
        Effect::Truncated,
        Effect::Reset,
    ] {
        tenant
            .control
            .add_fault(&Fault::always([RequestKind::RefreshToken], effect.clone()))
            .await
            .unwrap();
        let error = tenant.refresh(&tokens).await.unwrap_err();
        assert_eq!(
            error.next_step(),
            NextStep::RetryLater { after: None },
            "{effect:?}"
        );
        tenant.control.clear_faults().await.unwrap();
    }
    tenant.refresh(&tokens).await.unwrap();
}

#[tokio::test]
async fn throttling_that_lasts_ends_nobodys_session_and_is_left_alone() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let throttled = Effect::Throttled {
        retry_after_seconds: Some(60),
    };
    tenant
        .control
        .add_fault(&Fault::always([RequestKind::RefreshToken], throttled))
        .await
        .unwrap();
    for _ in 0..3 {
        let error = tenant.refresh(&tokens).await.unwrap_err();
        assert!(
            matches!(error.next_step(), NextStep::RetryLater { after: Some(_) }),
            "{error:?}"
        );
    }
    let asked = tenant
        .control
        .requests_of(RequestKind::RefreshToken)
        .await
        .unwrap();
    assert_eq!(asked.len(), 1);
}
