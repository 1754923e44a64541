//! After Entra refused the application, it is not asked for every user's token.

use behalf_entra::{EntraError, FederationReason, NextStep, OnBehalfOf};
use jiff::SignedDuration;
use rstest::rstest;
use wiremock::ResponseTemplate;

use crate::entra::{Entra, refused, secret, tokens};

const SCOPE: &str = behalf_entra::AZURE_DEVOPS_SCOPE;

fn no_credential() -> ResponseTemplate {
    refused(401, "invalid_client", 70_025)
}

fn cache(entra: &Entra) -> OnBehalfOf {
    OnBehalfOf::new(entra.client.clone(), SCOPE, 1024 * 1024)
}

#[rstest]
#[case(no_credential())]
#[case(refused(401, "invalid_client", 700_213))]
#[case(refused(400, "invalid_request", 90_002))]
#[case(refused(401, "invalid_client", 1))]
#[tokio::test]
async fn after_a_refused_client_no_user_asks_again_within_fifteen_seconds(#[case] refusal: ResponseTemplate) {
    let entra = Entra::start().await;
    entra.answer_once(refusal).await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    let first = cache.get(&secret("user"), None).await.unwrap_err();
    assert!(matches!(first, EntraError::Refused(_)), "{first:?}");
    entra.clock.advance(SignedDuration::from_secs(14));
    for user in ["user", "another user"] {
        let error = cache.get(&secret(user), None).await.unwrap_err();
        assert!(matches!(error, EntraError::Paused { .. }), "{error:?}");
        // It is no outage: an administrator must act, and the federation is probed.
        assert_eq!(error.next_step(), NextStep::ClientAuthentication);
        assert_eq!(error.reason(), first.reason());
    }
    let refresh = entra.client.refresh(&secret("rt"), SCOPE).await;
    assert!(matches!(refresh, Err(EntraError::Paused { .. })), "{refresh:?}");
    assert_eq!(entra.forms().await.len(), 1);
    entra.clock.advance(SignedDuration::from_secs(1));
    cache.get(&secret("another user"), None).await.unwrap();
    cache.get(&secret("user"), None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 3);
}

#[tokio::test]
async fn after_the_pause_one_request_goes_first_and_its_refusal_begins_the_next_pause() {
    let entra = Entra::start().await;
    entra.answer(no_credential()).await;
    let cache = cache(&entra);
    for _ in 0..3 {
        for user in ["user", "another user", "a third user"] {
            cache.get(&secret(user), None).await.unwrap_err();
        }
        entra.clock.advance(SignedDuration::from_secs(15));
    }
    assert_eq!(entra.forms().await.len(), 3);
}

#[tokio::test]
async fn a_probe_does_not_wait_and_its_success_ends_the_pause() {
    let entra = Entra::start().await;
    entra.answer_once(no_credential()).await;
    entra.answer_once(no_credential()).await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    cache.get(&secret("user"), None).await.unwrap_err();
    let refused = entra.probe().await.unwrap_err();
    assert!(matches!(refused, EntraError::Refused(_)), "{refused:?}");
    assert_eq!(refused.reason(), Some(FederationReason::FicNotFound));
    let paused = cache.get(&secret("user"), None).await;
    assert!(matches!(paused, Err(EntraError::Paused { .. })), "{paused:?}");
    entra.probe().await.unwrap();
    cache.get(&secret("user"), None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 4);
}

/// Entra may refuse the application's own request where it accepts those for users.
#[rstest]
#[case(refused(401, "invalid_client", 1))]
#[case(refused(400, "invalid_grant", 501_051))]
#[tokio::test]
async fn a_refused_probe_pauses_nobody(#[case] refusal: ResponseTemplate) {
    let entra = Entra::start().await;
    entra.answer_once(refusal).await;
    entra.answer(tokens("at")).await;
    entra.probe().await.unwrap_err();
    cache(&entra).get(&secret("user"), None).await.unwrap();
}

#[rstest]
#[case::one_user(refused(400, "invalid_grant", 50_020))]
#[case::one_resource(refused(400, "invalid_resource", 500_011))]
#[case::one_grant(refused(400, "unauthorized_client", 1))]
#[tokio::test]
async fn a_refusal_that_is_not_of_the_client_pauses_nobody(#[case] refusal: ResponseTemplate) {
    let entra = Entra::start().await;
    entra.answer_once(refusal).await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    cache.get(&secret("user"), None).await.unwrap_err();
    cache.get(&secret("another user"), None).await.unwrap();
}
