//! The answer to the client for each answer of Entra to an exchange.

use axum::http::StatusCode;
use behalf_auth_sidecar::sessions::GrantError;
use behalf_contract::ExchangePlace::{self, Server, Sidecar};
use behalf_contract::Injection::{self, Argument, Header, None as Nothing};
use behalf_contract::Outcome;
use behalf_entra::Secret;
use behalf_simulators::entra::{Consent, Effect, Fault, Policy, RequestKind};
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};
use jiff::SignedDuration;
use rstest::rstest;

use crate::tool_error::tool_error;
use crate::world::{CLIENT, World, body, call, list};

#[tokio::test]
async fn many_calls_share_one_exchange() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    for _ in 0..3 {
        assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    }
    assert_eq!(
        world
            .control()
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn with_injection_argument_only_tool_calls_are_exchanged() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Argument);
    let login = sidecar.sign_in(&world).await;
    sidecar.post(&login, &list()).await;
    assert!(
        world
            .control()
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .is_empty()
    );
    sidecar.post(&login, &call()).await;
    assert_eq!(
        world
            .control()
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn with_the_exchange_in_the_server_the_sidecar_sends_no_request_to_entra() {
    let world = World::start().await;
    let sidecar = world.sidecar(Server, Argument);
    let login = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    let requests = world.control().requests().await.unwrap();
    assert!(
        requests.iter().all(|request| !request.kind.is_token()),
        "{requests:?}"
    );
}

/// Regression: Conditional Access ended in an error that starts no login: `claude-code#48000`, `ms-365-mcp-server#485`,
/// `vscode#319673`.
#[tokio::test]
async fn a_required_sign_in_challenges_the_client_and_keeps_its_session() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    world
        .control()
        .put_policies(ANA.user_name, &[Policy::multi_factor()])
        .await
        .unwrap();
    for message in [call(), list(), call()] {
        let response = sidecar.post(&login, &message).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\", "),
            "{challenge}"
        );
    }
    assert!(world.server.received().is_empty());
    // A client that ignores the challenge causes no requests to Entra (AADSTS50196).
    assert_eq!(
        world
            .control()
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .len(),
        1
    );

    let refreshed = sidecar
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await;
    assert!(
        matches!(refreshed, Err(GrantError::Dead(_))),
        "its refresh sends it to the login"
    );
    let open = sidecar
        .sessions
        .open(&Secret::new(login.access_token.clone()))
        .await;
    assert!(open.is_ok(), "the session is still there");
}

#[rstest]
#[case::blocked(Policy::blocked(), "A Conditional Access policy blocks this")]
#[case::token_protection(Policy::token_protection(), "token protection")]
#[tokio::test]
async fn a_refusal_that_a_login_cannot_fix_is_a_tool_result(#[case] policy: Policy, #[case] words: &str) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    world
        .control()
        .put_policies(ANA.user_name, &[policy])
        .await
        .unwrap();

    let response = sidecar.post(&login, &call()).await;
    let text = tool_error(response).await;
    assert!(text.contains("correlation id") && text.contains(words), "{text}");

    let response = sidecar.post(&login, &list()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await["error"]["code"], 403);
    assert!(world.server.received().is_empty());
}

/// Regression: `toolhive#5325`, where users had to add the exchange themselves, and nothing named its consent.
#[tokio::test]
async fn a_missing_consent_is_reported_until_an_exchange_succeeds() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let (login, other) = (sidecar.sign_in(&world).await, sidecar.sign_in(&world).await);
    let told = || {
        let report = sidecar.sign_ins.report();
        (report.outcome, report.reason)
    };
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    assert_eq!(told(), (Outcome::Verified, "SignedIn".to_owned()));

    let consents = |all: &[&str]| -> Vec<Consent> {
        all.iter()
            .map(|resource| Consent::by_administrator(CLIENT_ID, resource))
            .collect()
    };
    let control = world.control();
    control.put_consents(&consents(&[CLIENT_ID])).await.unwrap();
    let refused = sidecar.post(&other, &call()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(told(), (Outcome::Failed, "ConsentRequired".to_owned()));
    // A cached token says nothing about Entra's present answer.
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    assert_eq!(told().0, Outcome::Failed);

    let all = consents(&[CLIENT_ID, AZURE_DEVOPS_APPLICATION_ID]);
    control.put_consents(&all).await.unwrap();
    let third = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&third, &call()).await.status(), StatusCode::OK);
    assert_eq!(told(), (Outcome::Verified, "SignedIn".to_owned()));
}

#[tokio::test]
async fn an_outage_of_entra_is_a_503_and_passes() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: Some(17),
    };
    world
        .control()
        .add_fault(&Fault::always([RequestKind::OnBehalfOf], outage))
        .await
        .unwrap();
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "17");
    world.control().clear_faults().await.unwrap();
    world.clock.advance(SignedDuration::from_secs(10));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let left: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((5..=7).contains(&left), "{left}");
    let asked = world
        .control()
        .requests_of(RequestKind::OnBehalfOf)
        .await
        .unwrap();
    assert_eq!(asked.len(), 1, "asked before Entra wanted to hear of it");
    world.clock.advance(SignedDuration::from_secs(7));
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn throttling_pauses_the_exchanges_of_all_sessions_and_cached_tokens_stay_in_use() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let [first, second, third] = [
        sidecar.sign_in(&world).await,
        sidecar.sign_in(&world).await,
        sidecar.sign_in(&world).await,
    ];
    assert_eq!(sidecar.post(&first, &call()).await.status(), StatusCode::OK);
    let throttled = Effect::Throttled {
        retry_after_seconds: Some(40),
    };
    let control = world.control();
    control
        .add_fault(&Fault::once([RequestKind::OnBehalfOf], throttled))
        .await
        .unwrap();
    for login in [&second, &third] {
        let response = sidecar.post(login, &call()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let wait: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((38..=40).contains(&wait), "{wait}");
    }
    let asked = control.requests_of(RequestKind::OnBehalfOf).await.unwrap();
    assert_eq!(
        asked.len(),
        2,
        "the third session asked although Entra throttles the application"
    );
    assert_eq!(sidecar.post(&first, &call()).await.status(), StatusCode::OK);
    world.clock.advance(SignedDuration::from_secs(40));
    assert_eq!(sidecar.post(&third, &call()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_broken_federation_is_a_503_for_every_session_and_entra_is_asked_once() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let logins = [sidecar.sign_in(&world).await, sidecar.sign_in(&world).await];
    let control = world.control();
    control.put_federated_credentials(CLIENT_ID, &[]).await.unwrap();
    for login in logins.iter().chain(&logins) {
        let response = sidecar.post(login, &call()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
        assert!(!response.headers().contains_key("www-authenticate"));
        let answer = body(response).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("FederationVerified"), "{message}");
        // Returns at once if a probe was requested.
        sidecar.trigger.requested().await;
    }
    let asked = control.requests_of(RequestKind::OnBehalfOf).await.unwrap();
    assert_eq!(asked.len(), 1);

    let credential = world.issuer.credential();
    control
        .put_federated_credentials(CLIENT_ID, &[credential])
        .await
        .unwrap();
    world.clock.advance(SignedDuration::from_secs(15));
    for login in &logins {
        assert_eq!(sidecar.post(login, &call()).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_wrong_downstream_scope_asks_no_user_to_sign_in() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let refusal = Effect::Refusal {
        status: 400,
        error: "invalid_scope".to_owned(),
        code: 70011,
        suberror: None,
        claims: None,
    };
    world
        .control()
        .add_fault(&Fault::always([RequestKind::OnBehalfOf], refusal))
        .await
        .unwrap();
    assert_eq!(
        sidecar.post(&login, &call()).await.status(),
        StatusCode::BAD_GATEWAY
    );
}

#[rstest]
#[case::nothing_is_injected(Sidecar, Nothing)]
#[case::nothing_is_injected_or_exchanged(Server, Nothing)]
#[case::the_argument_is_for_tools_call(Sidecar, Argument)]
#[tokio::test]
async fn a_disabled_user_loses_access_to_a_server_without_tokens(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, injection);
    let refresh_token = Some(Secret::new("of-a-disabled-user"));
    let login = sidecar
        .sign_in_for(&world, SignedDuration::from_mins(5), refresh_token)
        .await;
    let disabled = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code: 50057,
        suberror: None,
        claims: None,
    };
    world
        .control()
        .add_fault(&Fault::always([RequestKind::RefreshToken], disabled))
        .await
        .unwrap();
    for _ in 0..2 {
        let response = sidecar.post(&login, &list()).await;
        assert_ne!(body(response).await["error"], serde_json::Value::Null);
    }
    assert!(world.server.received().is_empty());
    let asked = world
        .control()
        .requests_of(RequestKind::RefreshToken)
        .await
        .unwrap();
    assert_eq!(asked.len(), 1, "Entra is not asked again and again");
}
