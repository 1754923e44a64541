//! Entra tokens as bearer (`clients.entraTokens`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use behalf_contract::ExchangePlace::{self, Server, Sidecar as AtSidecar};
use behalf_contract::Injection::{self, Argument, Header, None as Nothing};
use behalf_contract::{Reauthenticate, ReauthenticateReason, RedisTopology};
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::entra::{Consent, Effect, Fault, MintRequest, Policy, RequestKind};
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID as DOWNSTREAM, BEN, CLIENT_ID};
use futures::StreamExt as _;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use crate::redis_server::{RedisServer, store_at};
use crate::revocation::{end_of, open, server_streams};
use crate::second_try::{exchanges, refused};
use crate::tool_error::tool_error;
use crate::world::{Login, Sidecar, World, audience, body, call, list};

const FOREIGN: &str = "99999999-9999-4999-8999-999999999999";

fn accepting(world: &World, at: ExchangePlace, injection: Injection) -> Sidecar {
    let mut config = world.config(at, injection);
    config.clients.entra_token_clients = vec![CLIENT_ID.to_owned()];
    world.sidecar_with(config)
}

fn ana() -> MintRequest {
    MintRequest::for_user(ANA.user_name)
}

async fn mint(world: &World, request: &MintRequest) -> String {
    world.control().mint(request).await.unwrap()
}

/// A client that presents this token as its bearer.
fn bearer(token: &str) -> Login {
    Login {
        access_token: token.to_owned(),
        refresh_token: Secret::new(""),
        at_entra: String::new(),
    }
}

async fn post(sidecar: &Sidecar, token: &str, message: &Value) -> Response<Body> {
    sidecar.post(&bearer(token), message).await
}

fn counted(sidecar: &Sidecar, reason: &str) -> u64 {
    sidecar.count(&format!("behalf_entra_bearers_total{{reason=\"{reason}\"}} "))
}

#[track_caller]
fn assert_refused(world: &World, sidecar: &Sidecar, response: &Response<Body>, reason: &str) {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.starts_with("Bearer error=\"invalid_token\", "),
        "{challenge}"
    );
    assert_eq!(counted(sidecar, reason), 1, "{}", sidecar.metrics.encode());
    assert!(world.server.received().is_empty());
}

#[rstest]
#[case(AtSidecar, Header, Some(DOWNSTREAM), None)]
#[case(AtSidecar, Argument, None, Some(DOWNSTREAM))]
#[case(AtSidecar, Nothing, None, None)]
#[case(Server, Header, Some(CLIENT_ID), None)]
#[case(Server, Argument, Some(CLIENT_ID), Some(CLIENT_ID))]
#[tokio::test]
async fn a_user_token_is_exchanged_and_injected_as_that_of_a_session(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
    #[case] header: Option<&str>,
    #[case] argument: Option<&str>,
) {
    let world = World::start().await;
    let sidecar = accepting(&world, at, injection);
    let token = mint(&world, &ana()).await;
    let response = post(&sidecar, &token, &call()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let received = world.server.only();
    let authorization = received.header("authorization");
    let authorization = authorization.map(|value| value.strip_prefix("Bearer ").unwrap());
    assert_eq!(authorization.map(audience).as_deref(), header);
    assert_eq!(received.argument().as_deref().map(audience).as_deref(), argument);
    assert_eq!(counted(&sidecar, "accepted"), 1);
}

#[rstest]
#[case::other_audience(ana().resource(DOWNSTREAM), "audience")]
#[case::audience_as_uri(ana().claim("aud", format!("api://{CLIENT_ID}")), "audience")]
#[case::other_tenant(ana().claim("tid", FOREIGN), "tenant")]
#[case::other_issuer(ana().claim("iss", "https://evil.example/v2.0"), "issuer")]
#[case::other_version(ana().claim("ver", "1.0"), "version")]
#[case::other_client(ana().claim("azp", FOREIGN), "client")]
#[case::no_client(ana().claim("azp", Value::Null), "client")]
#[case::other_scope(ana().claim("scp", "User.Read"), "scope")]
#[case::app_only(MintRequest::app_only(), "no_user")]
#[case::app_with_a_scope(ana().claim("idtyp", "app"), "no_user")]
#[case::no_object_id(ana().claim("oid", Value::Null), "no_user")]
#[case::id_token(MintRequest { id_token: true, ..ana() }, "no_user")]
#[case::expired(ana().expires_in(-600), "expired")]
#[case::not_yet_valid(ana().claim("nbf", 9_999_999_999_i64), "not_yet_valid")]
#[case::other_key(MintRequest { foreign_key: true, ..ana() }, "signature")]
#[tokio::test]
async fn another_token_of_entra_is_refused(#[case] request: MintRequest, #[case] reason: &str) {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    let token = mint(&world, &request).await;
    let response = post(&sidecar, &token, &call()).await;
    assert_refused(&world, &sidecar, &response, reason);
}

/// Returns the token with another `alg` in its header, and this signature.
fn with_algorithm(token: &str, algorithm: &str, signature: Option<&str>) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let header = URL_SAFE_NO_PAD.decode(parts[0]).unwrap();
    let mut header: Value = serde_json::from_slice(&header).unwrap();
    header["alg"] = json!(algorithm);
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    format!("{header}.{}.{}", parts[1], signature.unwrap_or(parts[2]))
}

#[rstest]
#[case::no_signature("none", Some(""))]
#[case::signature_of_a_shared_key("HS256", None)]
#[case::other_rsa("RS512", None)]
#[tokio::test]
async fn another_algorithm_than_entras_is_refused(#[case] algorithm: &str, #[case] signature: Option<&str>) {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    let token = with_algorithm(&mint(&world, &ana()).await, algorithm, signature);
    let response = post(&sidecar, &token, &call()).await;
    assert_refused(&world, &sidecar, &response, "algorithm");
}

#[tokio::test]
async fn by_default_no_token_of_entra_is_accepted() {
    let world = World::start().await;
    let token = mint(&world, &ana()).await;
    let sidecar = world.sidecar(AtSidecar, Header);
    let response = post(&sidecar, &token, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(world.server.received().is_empty());
}

#[tokio::test]
async fn sessions_work_beside_tokens_of_entra() {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    let login = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    assert_eq!(counted(&sidecar, "accepted"), 0);
}

#[tokio::test]
async fn a_new_key_of_the_tenant_is_found_and_made_up_keys_cause_one_request() {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    let keys = async || {
        let requests = world.control().requests_of(RequestKind::Keys).await;
        requests.unwrap().len()
    };
    let first = mint(&world, &ana()).await;
    assert_eq!(post(&sidecar, &first, &list()).await.status(), StatusCode::OK);
    let before = keys().await;
    world.control().rotate_keys(false).await.unwrap();
    let second = mint(&world, &ana()).await;
    assert_eq!(post(&sidecar, &second, &list()).await.status(), StatusCode::OK);
    for number in 0..20 {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": format!("made-up-{number}")});
        let (_, rest) = second.split_once('.').unwrap();
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let response = post(&sidecar, &forged, &list()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(counted(&sidecar, "unknown_key"), 20);
    assert_eq!(keys().await, before + 1);
}

#[tokio::test]
async fn the_downstream_token_is_cached_for_one_token_and_nothing_is_stored() {
    let world = World::start().await;
    let redis = RedisServer::start(&[]).await;
    let mut config = world.config(AtSidecar, Header);
    config.clients.entra_token_clients = vec![CLIENT_ID.to_owned()];
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let sidecar = world.sidecar_with_store(config, Arc::new(store));
    let one = mint(&world, &ana()).await;
    for _ in 0..3 {
        assert_eq!(post(&sidecar, &one, &call()).await.status(), StatusCode::OK);
    }
    assert_eq!(exchanges(&world).await, 1);
    // Another token of the same user, which Entra judges again.
    let other = mint(&world, &ana().claim("uti", "other")).await;
    assert_eq!(post(&sidecar, &other, &call()).await.status(), StatusCode::OK);
    assert_eq!(exchanges(&world).await, 2);
    let stored: Vec<String> = redis.ask(&["KEYS", "*"]).await.unwrap();
    assert!(stored.is_empty(), "{stored:?}");
}

#[tokio::test]
async fn a_token_with_seconds_left_is_used_to_the_end_and_the_answer_is_whole() {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Nothing);
    for seconds in [30, -60] {
        let token = mint(&world, &ana().expires_in(seconds)).await;
        let response = post(&sidecar, &token, &list()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(response).await["id"], 8, "{seconds}");
    }
}

/// The clocks of Entra and this server may differ by five minutes. The validation allows for it, and so does the stream.
#[tokio::test]
async fn a_stream_of_a_token_that_expired_a_minute_ago_goes_on() {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let sidecar = accepting(&world, AtSidecar, Nothing);
    let token = mint(&world, &ana().expires_in(-60)).await;
    let mut stream = open(&sidecar, &bearer(&token), &Method::GET).await;
    // An end that has come is noticed at the next turn of the timer.
    let end = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
    assert!(end.is_err(), "the stream ended");
}

#[tokio::test]
async fn a_revocation_of_the_user_refuses_older_tokens_and_ends_their_streams() {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let sidecar = accepting(&world, AtSidecar, Nothing);
    let sessions = sidecar.sessions.clone();
    tokio::spawn(async move { sessions.follow_revocations().await });
    let now = world.clock.now();
    let issued = |seconds: i64| ana().claim("iat", (now + SignedDuration::from_secs(seconds)).as_second());
    let old = mint(&world, &issued(-60)).await;
    let undated = mint(&world, &ana().claim("iat", Value::Null)).await;
    let new = mint(&world, &issued(60)).await;
    let stream = open(&sidecar, &bearer(&old), &Method::GET).await;

    let file = json!({"users": [{"id": ANA.object_id, "before": now}]});
    std::fs::write(world.file("revocations.new"), file.to_string()).unwrap();
    std::fs::rename(world.file("revocations.new"), world.file("revocations.json")).unwrap();
    assert!(end_of(stream).await.is_none());
    for token in [&old, &undated] {
        let response = post(&sidecar, token, &list()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(counted(&sidecar, "revoked"), 2);
    let _stream = open(&sidecar, &bearer(&new), &Method::GET).await;
}

#[tokio::test]
async fn a_claims_challenge_reaches_the_client_with_its_claims() {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    let token = mint(&world, &ana()).await;
    let policies = [Policy::multi_factor()];
    world
        .control()
        .put_policies(ANA.user_name, &policies)
        .await
        .unwrap();
    for _ in 0..2 {
        let response = post(&sidecar, &token, &call()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        let claims = challenge
            .strip_prefix("Bearer error=\"insufficient_claims\", claims=\"")
            .and_then(|rest| rest.split('"').next());
        let claims = STANDARD.decode(claims.unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert!(claims.is_object(), "{claims}");
        assert_eq!(body(response).await["id"], 7);
    }
    assert_eq!(exchanges(&world).await, 1, "the refusal is remembered");
}

#[tokio::test]
async fn a_user_who_gets_new_tokens_in_a_loop_is_limited_and_others_are_not() {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    // Younger than the process.
    let issued_at = (world.clock.now() + SignedDuration::from_secs(1)).as_second();
    let numbered = |number: usize| {
        ana()
            .claim("uti", format!("token-{number}"))
            .claim("iat", issued_at)
    };
    let first = mint(&world, &numbered(0)).await;
    assert_eq!(post(&sidecar, &first, &call()).await.status(), StatusCode::OK);
    for number in 1..60 {
        let token = mint(&world, &numbered(number)).await;
        assert_eq!(post(&sidecar, &token, &call()).await.status(), StatusCode::OK);
    }
    let next = mint(&world, &numbered(60)).await;
    let response = post(&sidecar, &next, &call()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: i64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(exchanges(&world).await, 60);

    assert_eq!(
        post(&sidecar, &first, &call()).await.status(),
        StatusCode::OK,
        "a token that was charged goes on"
    );
    let ben = mint(&world, &MintRequest::for_user(BEN.user_name)).await;
    assert_eq!(post(&sidecar, &ben, &call()).await.status(), StatusCode::OK);
    world.clock.advance(SignedDuration::from_secs(wait));
    assert_eq!(post(&sidecar, &next, &call()).await.status(), StatusCode::OK);
}

/// A token that Entra issued this long ago.
fn issued_ago(world: &World, minutes: i64) -> MintRequest {
    let at = world.clock.now() - SignedDuration::from_mins(minutes);
    ana().claim("iat", at.as_second())
}

/// Lets Entra refuse the tokens of users as assertions.
async fn refuse_assertions(world: &World, code: u32) {
    let refusal = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code,
        suberror: None,
        claims: None,
    };
    let fault = Fault::always([RequestKind::OnBehalfOf], refusal);
    world.control().add_fault(&fault).await.unwrap();
}

#[rstest]
#[case::stale(500_133, "Entra refuses this account's token")]
#[case::invalid(50_013, "Entra refuses this account's token")]
#[case::another_sign_in(70_043, "sign in again in the application that you use")]
#[tokio::test]
async fn a_new_token_that_entra_refuses_is_a_message_and_an_old_one_is_401(
    #[case] code: u32,
    #[case] words: &str,
) {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    refuse_assertions(&world, code).await;
    let old = mint(&world, &issued_ago(&world, 11)).await;
    let response = post(&sidecar, &old, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let new = mint(&world, &issued_ago(&world, 1)).await;
    let text = tool_error(post(&sidecar, &new, &call()).await).await;
    assert!(text.contains(words), "{text}");
    assert_eq!(exchanges(&world).await, 2);
}

#[tokio::test]
async fn the_same_holds_if_the_server_exchanges() {
    let world = World::start().await;
    let sidecar = accepting(&world, Server, Argument);
    world
        .server
        .answers(|_| refused(ReauthenticateReason::UserTokenRefused, None));
    let old = mint(&world, &issued_ago(&world, 11)).await;
    let response = post(&sidecar, &old, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let new = mint(&world, &issued_ago(&world, 1)).await;
    let text = tool_error(post(&sidecar, &new, &call()).await).await;
    assert!(text.contains("Entra refuses this account's token"), "{text}");
    assert_eq!(world.server.received().len(), 2);
}

#[rstest]
#[case::sidecar(AtSidecar)]
#[case::server(Server)]
#[tokio::test]
async fn a_missing_consent_is_a_message_that_names_the_command(#[case] at: ExchangePlace) {
    let world = World::start().await;
    let sidecar = accepting(&world, at, Header);
    let consents = [Consent::by_administrator(CLIENT_ID, CLIENT_ID)];
    world.control().put_consents(&consents).await.unwrap();
    if at == Server {
        let wanted = Reauthenticate {
            reason: ReauthenticateReason::GrantExpired,
            claims: None,
            consent: true,
        };
        world.server.answers(move |_| {
            let answer = Response::builder().status(401);
            let answer = answer.header("x-behalf-reauthenticate", wanted.encode());
            answer.body(Body::empty()).unwrap()
        });
    }
    for minutes in [0, 30] {
        let token = mint(&world, &issued_ago(&world, minutes)).await;
        let text = tool_error(post(&sidecar, &token, &call()).await).await;
        assert!(text.contains("az ad app permission admin-consent"), "{text}");
    }
}

#[tokio::test]
async fn while_entras_keys_cannot_be_read_requests_do_not_each_ask_for_them() {
    let world = World::start().await;
    let sidecar = accepting(&world, AtSidecar, Header);
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: None,
    };
    let fault = Fault::always([RequestKind::Keys], outage);
    world.control().add_fault(&fault).await.unwrap();
    let token = mint(&world, &ana()).await;
    for _ in 0..20 {
        let response = post(&sidecar, &token, &list()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let wait: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=15).contains(&wait), "{wait}");
    }
    let asked = world.control().requests_of(RequestKind::Keys).await.unwrap();
    assert_eq!(asked.len(), 1);
    world.control().clear_faults().await.unwrap();
    world.clock.advance(SignedDuration::from_secs(15));
    assert_eq!(post(&sidecar, &token, &list()).await.status(), StatusCode::OK);
}
