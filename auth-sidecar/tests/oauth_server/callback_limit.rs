//! Limits how often one address makes the application ask Entra with codes that nobody got from Entra.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::Page;

use crate::fixture::{Answer, REDIRECT_URI, World, request};

/// A server that knows the network of its gateway.
async fn behind_a_known_gateway() -> World {
    World::start_with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await
}

/// A callback with a made-up code: an approved flow of this browser.
struct MadeUp {
    path: String,
    cookie: String,
}

/// Approves the consent page without a sign-in at Entra.
async fn made_up(world: &World, client_id: &str) -> MadeUp {
    let answer = world.approved(client_id).await;
    MadeUp {
        path: format!(
            "/callback?state={}&code=made-up",
            answer.parameter("state").unwrap()
        ),
        cookie: answer.cookie(),
    }
}

async fn call_back(world: &World, peer: &str, path: &str, cookie: &str) -> Answer {
    let mut request = request(Method::GET, path, &[("cookie", cookie)])
        .body(Body::empty())
        .unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    world.send(request).await
}

/// Requests to Entra for a code.
async fn redemptions(world: &World) -> usize {
    let control = world.entra.control();
    let requests = control.requests_of(RequestKind::AuthorizationCode).await;
    requests.unwrap().len()
}

/// Sends made-up codes from `peer` until the limit refuses one, and returns that one with its answer.
async fn exhaust(world: &World, client_id: &str, peer: &str) -> (MadeUp, Answer) {
    loop {
        let flow = made_up(world, client_id).await;
        let answer = call_back(world, peer, &flow.path, &flow.cookie).await;
        if answer.status != 303 {
            return (flow, answer);
        }
        assert!(world.next() < 1000, "never limited");
    }
}

#[tokio::test]
async fn made_up_codes_of_one_address_are_limited_and_leave_the_others_alone() {
    let world = behind_a_known_gateway().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let peer = "192.0.2.1:1000";
    let (flow, limited) = exhaust(&world, &client_id, peer).await;
    limited.assert_page(429);
    assert_eq!(limited.header("retry-after"), Some("60"));
    let page = Page::parse(&limited.body);
    for words in [
        "Too many sign-ins",
        "Reload this page in a minute",
        "administrator",
    ] {
        assert!(page.text.contains(words), "{}", page.text);
    }
    assert_eq!(world.counted("sign_ins_limited"), 1);
    assert_eq!(redemptions(&world).await, 300);

    // The page says: reload. The sign-in and its cookie are still there.
    world.advance(60);
    let answer = call_back(&world, peer, &flow.path, &flow.cookie).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(redemptions(&world).await, 301);

    exhaust(&world, &client_id, peer).await;
    let before = redemptions(&world).await;
    let other = made_up(&world, &client_id).await;
    let answer = call_back(&world, "192.0.2.2:1000", &other.path, &other.cookie).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(redemptions(&world).await, before + 1);
}

#[tokio::test]
async fn callbacks_that_do_not_reach_entra_cost_nothing() {
    let world = behind_a_known_gateway().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let peer = "192.0.2.1:1000";
    let used = made_up(&world, &client_id).await;
    assert_eq!(
        call_back(&world, peer, &used.path, &used.cookie).await.status,
        303
    );
    let declined = made_up(&world, &client_id).await;
    let error = declined.path.replace("code=made-up", "error=access_denied");
    for _ in 0..400 {
        call_back(&world, peer, &used.path, "").await.assert_page(400);
        for (path, cookie) in [(&used.path, &used.cookie), (&error, &declined.cookie)] {
            let answer = call_back(&world, peer, path, cookie).await;
            assert_eq!(answer.parameter("error").as_deref(), Some("access_denied"));
        }
    }
    let login = world.login_of(&client_id, ANA).await;
    assert!(!login.code.is_empty());
    let another = made_up(&world, &client_id).await;
    let answer = call_back(&world, peer, &another.path, &another.cookie).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}
