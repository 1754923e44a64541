//! The requirements of Entra for the next login of a user: claims and consent.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_auth_sidecar::sessions::{OpenSession, SignInAgain};
use behalf_auth_sidecar::store::SessionStore as _;
use behalf_entra::Secret;
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::{ANA, BEN};

use crate::fixture::{REDIRECT_URI, World, request};

/// The claims of a Conditional Access policy that demands an authentication context.
pub(crate) const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// Entra's answer when such a policy applies.
pub(crate) fn claims_challenge() -> Effect {
    Effect::Refusal {
        status: 400,
        error: "interaction_required".to_owned(),
        code: 50076,
        suberror: Some("basic_action".to_owned()),
        claims: Some(CLAIMS.to_owned()),
    }
}

/// Returns the claims of all authorization requests at Entra, in order.
pub(crate) async fn claims_sent(world: &World) -> Vec<Option<String>> {
    let records = world
        .entra
        .control()
        .requests_of(RequestKind::Authorize)
        .await
        .unwrap();
    records.into_iter().map(|record| record.claims).collect()
}

/// Claims that Entra requires for the next login.
pub(crate) fn requires(claims: &str) -> SignInAgain {
    SignInAgain {
        claims: Some(claims.to_owned()),
        consent: false,
    }
}

/// Registers a client, signs Ana in through it, and opens her session.
async fn open_session(world: &World) -> (String, Arc<OpenSession>) {
    let (login, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(tokens.access)).await.unwrap();
    (login.client_id, session)
}

#[tokio::test]
async fn pending_claims_of_user_and_client_are_sent_once() {
    let world = World::start().await;
    let (client_id, session) = open_session(&world).await;
    let claims = CLAIMS.to_owned();
    world
        .sessions
        .require_sign_in(&session, requires(&claims))
        .await
        .unwrap();
    let before = claims_sent(&world).await.len();

    world.login_of(&client_id, BEN).await;
    world.login(ANA).await;
    assert_eq!(
        claims_sent(&world).await[before..],
        [None, None],
        "neither another user nor another client"
    );
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        claims_sent(&world).await[before + 2..],
        [None, Some(claims)],
        "one more sign-in"
    );
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        claims_sent(&world).await[before + 4..],
        [None],
        "and not a third time"
    );
}

#[tokio::test]
async fn a_required_consent_is_requested_once() {
    let world = World::start().await;
    let (client_id, session) = open_session(&world).await;
    world
        .sessions
        .require_sign_in(
            &session,
            SignInAgain {
                claims: None,
                consent: true,
            },
        )
        .await
        .unwrap();
    let before = claims_sent(&world).await.len();
    world.login_of(&client_id, ANA).await;
    let records = world
        .entra
        .control()
        .requests_of(RequestKind::Authorize)
        .await
        .unwrap();
    let prompts: Vec<_> = records[before..]
        .iter()
        .map(|record| record.prompt.as_deref())
        .collect();
    assert_eq!(prompts, [None, Some("consent")]);
}

#[tokio::test]
async fn a_claims_challenge_at_the_redemption_sends_the_user_to_entra_once_more() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let effect = claims_challenge();
    let control = world.entra.control();
    control
        .add_fault(&Fault::once([RequestKind::AuthorizationCode], effect.clone()))
        .await
        .unwrap();
    assert!(world.sign_in(&client_id, ANA).await.code.is_some());
    assert_eq!(claims_sent(&world).await, [None, Some(CLAIMS.to_owned())]);
    control
        .add_fault(&Fault::always([RequestKind::AuthorizationCode], effect))
        .await
        .unwrap();
    let signed_in = world.sign_in(&client_id, ANA).await;
    assert_eq!(signed_in.error.as_deref(), Some("access_denied"), "no loop");
    assert_eq!(claims_sent(&world).await.len(), 4);
}

/// Starts a server that demands a new sign-in in `X-Behalf-Reauthenticate`.
async fn server_that_demands(json: &str) -> wiremock::MockServer {
    let server = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(401)
        .insert_header("x-behalf-reauthenticate", URL_SAFE_NO_PAD.encode(json));
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_consent_that_the_server_demands_is_requested_once_at_the_next_login() {
    let server = server_that_demands(r#"{"reason":"GrantExpired","consent":true}"#).await;
    let world = World::start_with(|config| {
        config.upstream = format!("{}/mcp", server.uri()).parse().unwrap();
        config.token_exchange.at = behalf_contract::ExchangePlace::Server;
    })
    .await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let login = world.login_of(&client_id, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let before = prompts_sent(&world).await.len();
    for _ in 0..2 {
        let call = request(Method::POST, "/mcp", &[("content-type", "application/json")])
            .header("authorization", format!("Bearer {}", tokens.access))
            .body(Body::from(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run"}}"#,
            ));
        assert_eq!(world.send(call.unwrap()).await.status, 401);
    }
    world
        .refresh(&client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        prompts_sent(&world).await[before..],
        [None, Some("consent".to_owned())]
    );
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        prompts_sent(&world).await[before + 2..],
        [None],
        "and not a third time"
    );
}

async fn prompts_sent(world: &World) -> Vec<Option<String>> {
    let control = world.entra.control();
    let records = control.requests_of(RequestKind::Authorize).await.unwrap();
    records.into_iter().map(|record| record.prompt).collect()
}

#[tokio::test]
async fn requirements_are_sealed_for_their_own_purpose() {
    let world = World::start().await;
    let (_, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(tokens.access)).await.unwrap();
    let again = requires(r#"{"access_token":{}}"#);
    world.sessions.require_sign_in(&session, again).await.unwrap();
    let kept = world.store.pending.lock().unwrap().clone();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].starts_with("bhp1."), "{}", &kept[0][..5]);
}

#[tokio::test]
async fn the_revisions_of_an_emptied_entry_do_not_begin_again() {
    let world = World::start().await;
    let (client_id, session) = open_session(&world).await;
    world
        .sessions
        .require_sign_in(&session, requires(CLAIMS))
        .await
        .unwrap();
    world.login_of(&client_id, ANA).await;
    let (_, session) = open_session(&world).await;
    let again = requires(CLAIMS);
    world.sessions.require_sign_in(&session, again).await.unwrap();
    let written = world.store.pending_revisions.lock().unwrap().clone();
    assert_eq!(written, [1, 2, 3]);
}

#[tokio::test]
async fn the_requirements_of_one_user_take_one_entry_for_all_clients() {
    const MAX_CLIENTS: usize = 16;
    let world = World::start().await;
    let claims = |number: usize| format!(r#"{{"access_token":{{"n":{number}}}}}"#);
    let mut clients = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..=MAX_CLIENTS {
        let (login, tokens) = world.session(ANA).await;
        sessions.push(world.sessions.open(&Secret::new(tokens.access)).await.unwrap());
        clients.push(login.client_id);
    }
    let before = world.store.usage().unwrap().entries;
    for (number, session) in sessions.iter().enumerate() {
        world
            .sessions
            .require_sign_in(session, requires(&claims(number)))
            .await
            .unwrap();
    }
    assert_eq!(world.store.usage().unwrap().entries, before + 1);

    let before = claims_sent(&world).await.len();
    for client_id in &clients {
        world.login_of(client_id, ANA).await;
    }
    let mut expected = vec![None];
    expected.extend((1..=MAX_CLIENTS).flat_map(|number| [None, Some(claims(number))]));
    assert_eq!(
        claims_sent(&world).await[before..],
        expected,
        "the oldest was dropped"
    );
}
