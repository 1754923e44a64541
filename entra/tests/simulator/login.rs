//! Login, refresh and what Entra refuses of both.

use behalf_entra::{NextStep, Refusal, Secret, SignInReason};
use behalf_simulators::entra::IssuerFixture;
use behalf_simulators::people::ANA as ANA_PERSON;

use crate::tenant::{ANA, Tenant, VERIFIER, assert_refused, sign_in_again};

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

/// Regression: `fastmcp#3483`, `data-api-builder#3641`, where a tenant's policy forbids client secrets.
#[tokio::test]
async fn login_refresh_exchange_and_probe_need_no_secret_and_name_no_resource() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let tokens = tenant.refresh(&tokens).await.unwrap();
    tenant.exchange(&tokens.access_token).await.unwrap();
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
async fn a_code_is_redeemed_once_and_with_its_verifier() {
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
        .refresh(&Secret::new("1.AXo"), "openid")
        .await
        .unwrap_err();
    assert_eq!(error.next_step(), sign_in_again(), "{error}");
}
