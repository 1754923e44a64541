//! The cache in front of the exchange.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::{CodeGrant, EntraError, FederationReason, NextStep, OnBehalfOf, Secret};
use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::entra::{Entra, refused, secret, tokens};

const SCOPE: &str = behalf_entra::AZURE_DEVOPS_SCOPE;

/// Long enough for a caller to go away before the answer.
const ANSWER_TIME: Duration = Duration::from_millis(300);

fn cache(entra: &Entra) -> OnBehalfOf {
    OnBehalfOf::new(entra.client.clone(), SCOPE, 1024 * 1024)
}

fn living(seconds: u64) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({"token_type": "Bearer", "expires_in": seconds, "access_token": "at"}))
}

#[tokio::test]
async fn the_same_token_is_exchanged_once() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    let first = cache.get(&secret("user"), None).await.unwrap();
    let second = cache.get(&secret("user"), None).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn parallel_callers_share_one_exchange() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    let all = join_all((0..50).map(|_| cache.get(&user, None))).await;
    assert!(
        all.iter()
            .all(|token| token.as_ref().unwrap().access_token.expose() == "at")
    );
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn another_token_of_the_same_user_is_exchanged_for_itself() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    cache.get(&secret("user"), None).await.unwrap();
    cache.get(&secret("user, an hour later"), None).await.unwrap();
    let assertions: Vec<_> = entra
        .forms()
        .await
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| (name == "assertion").then_some(value))
        .collect();
    assert_eq!(assertions, ["user", "user, an hour later"]);
}

#[tokio::test]
async fn a_refusal_is_shared_by_waiting_callers_and_not_cached() {
    let entra = Entra::start().await;
    entra
        .answer_once(refused(400, "interaction_required", 50_076))
        .await;
    entra.answer(tokens("at")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    let all = join_all((0..10).map(|_| cache.get(&user, None))).await;
    assert!(
        all.iter()
            .all(|token| matches!(token, Err(EntraError::Refused(_))))
    );
    assert_eq!(entra.forms().await.len(), 1);
    cache.get(&user, None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn a_token_near_its_end_serves_one_call() {
    let entra = Entra::start().await;
    entra.answer(living(300)).await;
    let cache = cache(&entra);
    cache.get(&secret("user"), None).await.unwrap();
    cache.get(&secret("user"), None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn a_forgotten_token_is_exchanged_again() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    cache.get(&secret("user"), None).await.unwrap();
    cache.forget(secret("someone else").digest()).await;
    cache.get(&secret("user"), None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 1);
    cache.forget(secret("user").digest()).await;
    cache.get(&secret("user"), None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn a_refused_token_is_forgotten_and_a_newer_one_stays() {
    let entra = Entra::start().await;
    entra.answer_once(tokens("old")).await;
    entra.answer(tokens("new")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    let old = cache.get(&user, None).await.unwrap();
    for _ in 0..3 {
        cache.forget_refused(user.digest(), &old.access_token).await;
        let token = cache.get(&user, None).await.unwrap();
        assert_eq!(token.access_token.expose(), "new");
    }
    assert_eq!(
        entra.forms().await.len(),
        2,
        "a call that came late threw the new token away"
    );
}

#[tokio::test]
async fn after_an_outage_entra_is_not_asked_again_for_this_token_before_the_pause_has_ended() {
    let entra = Entra::start().await;
    let outage = ResponseTemplate::new(503).insert_header("retry-after", "40");
    entra.answer_once(outage).await;
    entra.answer(tokens("at")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    let all = join_all((0..10).map(|_| cache.get(&user, None))).await;
    assert!(all.iter().all(Result::is_err));
    entra.clock.advance(SignedDuration::from_secs(30));
    let error = cache.get(&user, None).await.unwrap_err();
    assert!(matches!(error, EntraError::Paused { .. }), "{error:?}");
    assert_eq!(error.pause(), Duration::from_secs(10));
    assert_eq!(
        error.next_step(),
        NextStep::RetryLater {
            after: Some(error.pause())
        }
    );
    assert_eq!(entra.forms().await.len(), 1);
    // Another user's token is exchanged: the outage may concern this one alone.
    cache.get(&secret("another user"), None).await.unwrap();
    entra.clock.advance(SignedDuration::from_secs(10));
    cache.get(&user, None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 3);
}

#[tokio::test]
async fn throttling_pauses_every_token_request_except_codes() {
    let entra = Entra::start().await;
    let throttled = ResponseTemplate::new(429).insert_header("retry-after", "40");
    entra.answer_once(throttled).await;
    entra.answer(tokens("at")).await;
    let cache = cache(&entra);
    let first = cache.get(&secret("user"), None).await.unwrap_err();
    assert_eq!(first.pause(), Duration::from_secs(40));
    entra.clock.advance(SignedDuration::from_secs(39));
    for user in ["user", "another user"] {
        let error = cache.get(&secret(user), None).await.unwrap_err();
        assert_eq!(error.pause(), Duration::from_secs(1), "{error:?}");
        assert_eq!(error.reason(), Some(FederationReason::Throttled));
    }
    let refresh = entra.client.refresh(&secret("rt"), SCOPE).await;
    assert!(matches!(refresh, Err(EntraError::Paused { .. })), "{refresh:?}");
    assert!(matches!(entra.probe().await, Err(EntraError::Paused { .. })));
    assert_eq!(entra.forms().await.len(), 1);
    let code = CodeGrant {
        code: &secret("code"),
        redirect_uri: "https://mcp.contoso.example/callback",
        code_verifier: &secret("verifier"),
        scope: SCOPE,
    };
    entra.client.redeem_code(code).await.unwrap();
    entra.clock.advance(SignedDuration::from_secs(1));
    cache.get(&secret("another user"), None).await.unwrap();
    assert_eq!(entra.forms().await.len(), 3);
}

#[tokio::test]
async fn a_challenge_replaces_the_cached_token() {
    let entra = Entra::start().await;
    entra.answer_once(tokens("before")).await;
    entra.answer(tokens("after")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    assert_eq!(
        cache.get(&user, None).await.unwrap().access_token.expose(),
        "before"
    );
    assert_eq!(
        cache.get(&user, Some("{}")).await.unwrap().access_token.expose(),
        "after"
    );
    assert_eq!(
        cache.get(&user, None).await.unwrap().access_token.expose(),
        "after"
    );
    let forms = entra.forms().await;
    assert_eq!(forms.len(), 2);
    assert!(forms[1].contains(&("claims".to_owned(), "{}".to_owned())));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_end_the_exchange_of_others() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    let mut first = Box::pin(cache.get(&user, None));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(cache.get(&user, None));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await.unwrap().access_token.expose(), "at");
}

/// Lets the exchange of `user` begin, and goes away before Entra answers.
async fn begin_and_go_away(entra: &Entra, cache: &OnBehalfOf, user: &Secret) {
    let mut caller = Box::pin(cache.get(user, None));
    while entra.forms().await.is_empty() {
        assert!(futures::poll!(&mut caller).is_pending());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_exchange_without_callers_still_fills_the_cache() {
    let entra = Entra::start().await;
    entra.answer(tokens("at").set_delay(ANSWER_TIME)).await;
    let (cache, user) = (cache(&entra), secret("user"));
    begin_and_go_away(&entra, &cache, &user).await;
    assert_eq!(cache.get(&user, None).await.unwrap().access_token.expose(), "at");
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn an_exchange_without_callers_still_begins_the_pause() {
    let entra = Entra::start().await;
    let outage = ResponseTemplate::new(503).insert_header("retry-after", "40");
    entra.answer(outage.set_delay(ANSWER_TIME)).await;
    let (cache, user) = (cache(&entra), secret("user"));
    begin_and_go_away(&entra, &cache, &user).await;
    // Shares the exchange in flight.
    assert!(cache.get(&user, None).await.is_err());
    let error = cache.get(&user, None).await.unwrap_err();
    assert!(matches!(error, EntraError::Paused { .. }), "{error:?}");
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn the_same_challenge_again_is_a_new_exchange() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let (cache, user) = (cache(&entra), secret("user"));
    let all = join_all((0..10).map(|_| cache.get(&user, Some("{}")))).await;
    assert!(all.into_iter().all(|token| token.is_ok()));
    assert_eq!(entra.forms().await.len(), 1, "shared by those who waited");
    cache.get(&user, Some("{}")).await.unwrap();
    assert_eq!(entra.forms().await.len(), 2);
}
