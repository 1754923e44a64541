//! Limits how often one address opens the pages of a login, and sends codes and tokens.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::Page;

use crate::answer::Answer;
use crate::fixture::{REDIRECT_URI, World, encode, request};

const ONE: &str = "192.0.2.1:1000";
const OTHER: &str = "192.0.2.2:1000";

async fn behind_a_known_gateway() -> World {
    World::start_with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await
}

async fn from(peer: &str, world: &World, method: Method, path: &str, form: &[(&str, &str)]) -> Answer {
    let form_type = [("content-type", "application/x-www-form-urlencoded")];
    let mut request = request(method, path, &form_type)
        .body(Body::from(encode(form)))
        .unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    world.send(request).await
}

/// Sends requests until one is refused as one too many. Returns the number of the others, and the refusal.
async fn until_limited(mut send: impl AsyncFnMut() -> Answer) -> (usize, Answer) {
    for admitted in 0..5000 {
        let answer = send().await;
        if answer.status == 429 {
            return (admitted, answer);
        }
    }
    panic!("never limited");
}

fn refresh<'a>(client_id: &'a str, token: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("grant_type", "refresh_token"),
        ("client_id", client_id),
        ("refresh_token", token),
    ]
}

#[tokio::test]
async fn token_requests_of_one_address_are_limited_and_leave_the_others_alone() {
    let world = behind_a_known_gateway().await;
    let (login, tokens) = world.session(ANA).await;
    let guess = refresh(&login.client_id, "guess");
    let (admitted, limited) =
        until_limited(async || from(ONE, &world, Method::POST, "/token", &guess).await).await;
    assert_eq!(admitted, 3000);
    limited.assert_error(429, "temporarily_unavailable");
    assert_eq!(limited.header("retry-after"), Some("5"));
    assert_eq!(world.counted("grants_limited"), 1);

    let valid = refresh(&login.client_id, &tokens.refresh);
    let answer = from(OTHER, &world, Method::POST, "/token", &valid).await;
    let next = answer.tokens().refresh;
    world.advance(1);
    let valid = refresh(&login.client_id, &next);
    from(ONE, &world, Method::POST, "/token", &valid).await.tokens();
}

#[tokio::test]
async fn clients_of_ended_sessions_keep_nobody_at_their_address_from_a_refresh() {
    let world = behind_a_known_gateway().await;
    let (login, tokens) = world.session(ANA).await;
    let ended = refresh(&login.client_id, "ended");
    for _ in 0..1000 {
        let answer = from(ONE, &world, Method::POST, "/token", &ended).await;
        answer.assert_error(400, "invalid_grant");
    }
    let valid = refresh(&login.client_id, &tokens.refresh);
    from(ONE, &world, Method::POST, "/token", &valid).await.tokens();
}

#[tokio::test]
async fn probes_of_a_gateway_have_no_limit_and_use_up_none() {
    let world = behind_a_known_gateway().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    for _ in 0..5000 {
        let answer = from(ONE, &world, Method::GET, "/healthz", &[]).await;
        // Nothing probes the readiness of this sidecar.
        assert_eq!(answer.status, 503);
        assert_eq!(answer.body, "unavailable\n");
    }
    let path = world.authorize_path(&client_id, &[]);
    let answer = from(ONE, &world, Method::GET, &path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let invalid = refresh(&client_id, "invalid");
    let answer = from(ONE, &world, Method::POST, "/token", &invalid).await;
    answer.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn the_pages_of_one_address_are_limited_and_leave_the_others_alone() {
    let world = behind_a_known_gateway().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&client_id, &[]);
    let (admitted, limited) = until_limited(async || from(ONE, &world, Method::GET, &path, &[]).await).await;
    assert_eq!(admitted, 3000);
    limited.assert_page(429);
    assert_eq!(limited.header("retry-after"), Some("60"));
    let text = Page::parse(&limited.body).text;
    assert!(text.contains("Too many sign-ins"), "{text}");
    from(ONE, &world, Method::POST, "/consent", &[])
        .await
        .assert_page(429);
    assert_eq!(world.counted("pages_limited"), 2);

    // A preflight opens no page.
    let preflight = from(ONE, &world, Method::OPTIONS, "/authorize", &[]).await;
    assert_ne!(preflight.status, 429);
    let answer = from(OTHER, &world, Method::GET, &path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    world.advance(1);
    let answer = from(ONE, &world, Method::GET, &path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
