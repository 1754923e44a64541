//! Tests On-Behalf-Of in the server, and its answers to the sidecar if the exchange fails.

use std::sync::Arc;

use behalf_contract::{ExchangePlace, Injection, ReauthenticateReason, headers};
use behalf_entra::{Clock as _, FixedClock, SystemClock};
use behalf_simulators::azure_devops::{Action, Fault as AzureFault};
use behalf_simulators::entra::{Effect, Fault, MintRequest, Policy, RequestKind};
use behalf_simulators::people::CLIENT_ID;
use http::StatusCode;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use crate::support::{Answer, Pod, World};

async fn call(world: &World, pod: &Pod, token: &str) -> Answer {
    let _ = world;
    pod.call(token, "list_pipeline_runs", json!({"top": 1})).await
}

fn server(world: &World) -> Pod {
    world.pod(ExchangePlace::Server, Injection::Argument)
}

async fn exchanges(world: &World) -> usize {
    world
        .entra()
        .requests_of(RequestKind::OnBehalfOf)
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn exchanges_once_for_many_calls() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    for _ in 0..3 {
        call(&world, &pod, &token).await.structured();
    }
    assert_eq!(exchanges(&world).await, 1);
    let other = world.user_token("ben").await;
    call(&world, &pod, &other).await.structured();
    assert_eq!(exchanges(&world).await, 2);
    let users: Vec<_> = world
        .azure()
        .record()
        .await
        .unwrap()
        .into_iter()
        .filter_map(|call| call.object_id)
        .collect();
    assert!(
        users[..3].iter().all(|user| *user == users[0]) && users[3] != users[0],
        "{users:?}"
    );
}

#[tokio::test]
async fn listing_tools_exchanges_nothing() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let answer = pod
        .send(crate::support::Ask::request("tools/list").bearer(&token))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn conditional_access_demands_a_sign_in_with_its_claims() {
    let world = World::start().await;
    world
        .entra()
        .put_policies("ana", &[Policy::multi_factor()])
        .await
        .unwrap();
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let asked = call(&world, &pod, &token).await.reauthenticate();
    assert_eq!(asked.reason, ReauthenticateReason::InteractionRequired);
    assert!(asked.claims.unwrap().contains("polids"));
    assert!(world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_that_a_login_cannot_fix_is_a_tool_result() {
    let world = World::start().await;
    world
        .entra()
        .put_policies("ana", &[Policy::blocked()])
        .await
        .unwrap();
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let answer = call(&world, &pod, &token).await;
    assert!(answer.headers.get(headers::REAUTHENTICATE).is_none());
    let text = answer.tool_error();
    assert!(text.contains("correlation id"), "{text}");
}

#[tokio::test]
async fn missing_consent_demands_a_sign_in() {
    let world = World::start().await;
    world.entra().put_consents(&[]).await.unwrap();
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let asked = call(&world, &pod, &token).await.reauthenticate();
    assert_eq!(asked.reason, ReauthenticateReason::GrantExpired);
    assert!(asked.consent, "another sign-in alone would end here again");
}

#[rstest]
#[case::expired(500_133)]
#[case::invalid(50_013)]
#[tokio::test]
async fn a_refused_user_token_is_reported_so_that_the_sidecar_renews_it(#[case] code: u32) {
    let world = World::start().await;
    let refusal = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code,
        suberror: None,
        claims: None,
    };
    let fault = Fault::once([RequestKind::OnBehalfOf], refusal);
    world.entra().add_fault(&fault).await.unwrap();
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let asked = call(&world, &pod, &token).await.reauthenticate();
    assert_eq!(asked.reason, ReauthenticateReason::UserTokenRefused);
    assert!(world.azure().record().await.unwrap().is_empty(), "nothing ran");
}

#[tokio::test]
async fn only_missing_consent_asks_for_consent() {
    let world = World::start().await;
    world
        .entra()
        .put_policies("ana", &[Policy::multi_factor()])
        .await
        .unwrap();
    let (pod, token) = (server(&world), world.user_token("ana").await);
    assert!(!call(&world, &pod, &token).await.reauthenticate().consent);
}

#[rstest]
#[case::another_name(format!("{CLIENT_ID}/tools.use"), "tools.use", StatusCode::OK)]
#[case::application_id_uri(format!("api://{CLIENT_ID}/tools.use"), "profile tools.use", StatusCode::OK)]
#[case::everything_means_the_usual_one(format!("{CLIENT_ID}/.default"), "access_as_user", StatusCode::OK)]
#[case::the_usual_one_is_not_the_configured_one(
    format!("{CLIENT_ID}/tools.use"),
    "access_as_user",
    StatusCode::UNAUTHORIZED
)]
#[case::the_first_of_two(
    format!("openid {CLIENT_ID}/tools.use {CLIENT_ID}/tools.run"),
    "tools.run tools.use",
    StatusCode::OK
)]
#[case::nothing_but_everything(format!("{CLIENT_ID}/.default"), "tools.use", StatusCode::UNAUTHORIZED)]
#[tokio::test]
async fn a_users_token_needs_the_scope_that_is_configured(
    #[case] configured: String,
    #[case] granted: &str,
    #[case] expected: StatusCode,
) {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Server, Injection::Header, |config| {
        config.entra.as_mut().unwrap().scope = configured;
    });
    let token = MintRequest::for_user("ana").claim("scp", granted);
    let token = world.entra().mint(&token).await.unwrap();
    let answer = call(&world, &pod, &token).await;
    assert_eq!(answer.status, expected, "{answer:?}");
    assert!(answer.headers.get(headers::REAUTHENTICATE).is_none());
}

#[tokio::test]
async fn an_outage_of_entra_is_503_with_its_own_wait() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let throttled = Effect::Throttled {
        retry_after_seconds: Some(17),
    };
    world
        .entra()
        .add_fault(&Fault::always(vec![RequestKind::OnBehalfOf], throttled))
        .await
        .unwrap();
    let answer = call(&world, &pod, &token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "17");
    assert!(answer.headers.get(headers::REAUTHENTICATE).is_none());
    assert!(answer.headers.get(headers::ERROR).is_none());

    world.entra().clear_faults().await.unwrap();
    let early = call(&world, &pod, &token).await;
    assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE, "{early:?}");
    assert_eq!(
        exchanges(&world).await,
        1,
        "asked before Entra wanted to hear of it"
    );
    // A server that has just started knows nothing of the pause.
    call(&world, &server(&world), &token).await.structured();
}

#[tokio::test]
async fn a_broken_federation_is_503_and_works_again_without_a_restart() {
    let world = World::start().await;
    let right = world
        .entra()
        .application(CLIENT_ID)
        .await
        .unwrap()
        .federated_credentials;
    world
        .entra()
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    let clock = Arc::new(FixedClock::new(SystemClock.now()));
    let pod = world.pod_at(ExchangePlace::Server, Injection::Argument, clock.clone());
    let token = world.user_token("ana").await;
    for _ in 0..3 {
        let answer = call(&world, &pod, &token).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert!(answer.headers.get("retry-after").is_some());
        // So that the sidecar probes the federation at once.
        assert_eq!(answer.headers[headers::ERROR], headers::INVALID_CLIENT);
    }
    assert_eq!(exchanges(&world).await, 1);

    world
        .entra()
        .put_federated_credentials(CLIENT_ID, &right)
        .await
        .unwrap();
    clock.advance(SignedDuration::from_secs(15));
    call(&world, &pod, &token).await.structured();
}

#[tokio::test]
async fn a_token_that_azure_devops_refuses_is_exchanged_once_more() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    for action in [Action::SignInPage, Action::SignInRedirect, Action::Unauthorized] {
        let before = exchanges(&world).await;
        call(&world, &pod, &token).await.structured();
        let warm = exchanges(&world).await;
        world
            .azure()
            .fault(&AzureFault::once(action.clone()))
            .await
            .unwrap();
        call(&world, &pod, &token).await.structured();
        assert_eq!(exchanges(&world).await, warm + 1, "{action:?} after {before}");
    }
}

#[tokio::test]
async fn a_token_that_azure_devops_refuses_twice_demands_a_sign_in() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    world
        .azure()
        .fault(&AzureFault::always(Action::SignInPage))
        .await
        .unwrap();
    let asked = call(&world, &pod, &token).await.reauthenticate();
    assert_eq!(
        (asked.reason, asked.claims),
        (ReauthenticateReason::TokenRefused, None)
    );
    assert_eq!(exchanges(&world).await, 2);
    assert_eq!(world.azure().record().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_challenge_of_azure_devops_goes_into_the_next_exchange() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#.to_owned();
    world
        .azure()
        .fault(&AzureFault::once(Action::ClaimsChallenge {
            claims: claims.clone(),
        }))
        .await
        .unwrap();
    call(&world, &pod, &token).await.structured();
    let sent = world.entra().requests_of(RequestKind::OnBehalfOf).await.unwrap();
    assert_eq!(sent.last().unwrap().claims.as_deref(), Some(claims.as_str()));
}

#[tokio::test]
async fn a_challenge_that_entra_cannot_satisfy_demands_a_sign_in() {
    let world = World::start().await;
    let (pod, token) = (server(&world), world.user_token("ana").await);
    call(&world, &pod, &token).await.structured();
    world
        .entra()
        .put_policies("ana", &[Policy::multi_factor()])
        .await
        .unwrap();
    world
        .azure()
        .fault(&AzureFault::once(Action::SignInPage))
        .await
        .unwrap();
    let asked = call(&world, &pod, &token).await.reauthenticate();
    assert_eq!(asked.reason, ReauthenticateReason::InteractionRequired);
}

#[tokio::test]
async fn with_the_exchange_in_the_sidecar_a_refused_token_is_reported_to_it() {
    let world = World::start().await;
    for injection in [Injection::Header, Injection::Argument] {
        let pod = world.pod(ExchangePlace::Sidecar, injection);
        let stale = world.user_token("ana").await; // not for Azure DevOps
        let asked = call(&world, &pod, &stale).await.reauthenticate();
        assert_eq!(
            (asked.reason, asked.claims),
            (ReauthenticateReason::TokenRefused, None)
        );

        let good = world.azure_token("ana").await;
        let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned();
        world
            .azure()
            .fault(&AzureFault::once(Action::ClaimsChallenge {
                claims: claims.clone(),
            }))
            .await
            .unwrap();
        let asked = call(&world, &pod, &good).await.reauthenticate();
        assert_eq!(
            (asked.reason, asked.claims),
            (ReauthenticateReason::InteractionRequired, Some(claims))
        );
    }
    assert_eq!(exchanges(&world).await, 0);
}
