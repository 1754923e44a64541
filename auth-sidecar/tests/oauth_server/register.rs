//! `POST /register`: accepted and refused clients, and the limits.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use serde_json::json;

use crate::fixture::{Answer, REDIRECT_URI, World, request};

/// Regression: `clerk/mcp-tools#19`, an answer without `refresh_token`; `gateway sample (registration)`, which answered 200.
#[tokio::test]
async fn a_registration_answers_201_with_its_metadata_and_no_caching() {
    let world = World::start().await;
    let body = json!({
        "client_name": "Inspector", "application_type": "native", "token_endpoint_auth_method": "client_secret_basic",
        "redirect_uris": ["http://127.0.0.1:6276/oauth/callback"], "grant_types": ["authorization_code"],
        "response_types": ["code"], "logo_uri": "https://evil.example/logo", "scope": "mcp:read",
    });
    let answer = world.post_json("/register", &body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut registered = answer.json();
    let id = registered["client_id"].take();
    let id = id.as_str().unwrap();
    assert!(id.len() <= 1024 && !id.starts_with("https://"), "{id}");
    assert_eq!(
        registered["client_id_issued_at"].as_i64(),
        Some(behalf_entra::Clock::now(&*world.clock).as_second())
    );
    registered
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !name.starts_with("client_id"));
    let expected = json!({
        "client_name": "Inspector", "application_type": "native", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1:6276/oauth/callback"], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    assert_eq!(registered, expected);
}

/// Regression: `gateway sample (registration)`, which accepted every scheme.
#[tokio::test]
async fn bad_metadata_is_refused_in_terms_of_rfc_7591() {
    let world = World::start().await;
    let cases = [
        (
            "javascript",
            json!({"redirect_uris": ["javascript:alert(1)"]}),
            "invalid_redirect_uri",
        ),
        (
            "one_bad_of_two",
            json!({"redirect_uris": ["http://localhost/cb", "data:text/html,x"]}),
            "invalid_redirect_uri",
        ),
        (
            "foreign_host",
            json!({"redirect_uris": ["https://evil.example/cb"]}),
            "invalid_redirect_uri",
        ),
        (
            "plain_http",
            json!({"redirect_uris": ["http://claude.ai/cb"]}),
            "invalid_redirect_uri",
        ),
        (
            "other_page_of_a_vendor",
            json!({"redirect_uris": ["https://claude.ai/share/1"]}),
            "invalid_redirect_uri",
        ),
        ("none", json!({"redirect_uris": []}), "invalid_redirect_uri"),
        ("missing", json!({}), "invalid_redirect_uri"),
        (
            "too_many",
            json!({"redirect_uris": vec!["http://localhost/cb"; 11]}),
            "invalid_redirect_uri",
        ),
        (
            "not_a_list",
            json!({"redirect_uris": "http://localhost/cb"}),
            "invalid_client_metadata",
        ),
        ("null", json!({"redirect_uris": null}), "invalid_client_metadata"),
        (
            "numbers",
            json!({"redirect_uris": [1]}),
            "invalid_client_metadata",
        ),
        (
            "name_is_no_text",
            json!({"redirect_uris": ["http://localhost/cb"], "client_name": {}}),
            "invalid_client_metadata",
        ),
        (
            "long_name",
            json!({"redirect_uris": ["http://localhost/cb"], "client_name": "x".repeat(129)}),
            "invalid_client_metadata",
        ),
        (
            "other_grant",
            json!({"redirect_uris": ["http://localhost/cb"], "grant_types": ["client_credentials"]}),
            "invalid_client_metadata",
        ),
        (
            "implicit",
            json!({"redirect_uris": ["http://localhost/cb"], "response_types": ["token"]}),
            "invalid_client_metadata",
        ),
        (
            "beyond_an_id",
            json!({"redirect_uris": (0..3).map(|n| format!("http://localhost/{n}{}", "a".repeat(300))).collect::<Vec<_>>()}),
            "invalid_client_metadata",
        ),
        ("a_list", json!([]), "invalid_client_metadata"),
        ("text", json!("x"), "invalid_client_metadata"),
    ];
    for (name, body, error) in cases {
        let answer = world.post_json("/register", &body).await;
        assert_eq!(answer.status, 400, "{name}");
        answer.assert_error(400, error);
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_and_not_quoted() {
    let world = World::start().await;
    let send = |content_type: &'static str, body: Vec<u8>| {
        let request = request(Method::POST, "/register", &[("content-type", content_type)]);
        world.send(request.body(Body::from(body)).unwrap())
    };
    let answer = send("application/json", b"{\"redirect_uris\": [\"planted".to_vec()).await;
    answer.assert_error(400, "invalid_client_metadata");
    assert!(!answer.body.contains("planted"));
    send("application/json", vec![0xff; 10])
        .await
        .assert_error(400, "invalid_client_metadata");
    send("application/json", Vec::new())
        .await
        .assert_error(400, "invalid_client_metadata");
    send("application/json", vec![b'['; 8_000])
        .await
        .assert_error(400, "invalid_client_metadata");
    send("application/json", vec![b' '; 64 * 1024])
        .await
        .assert_error(413, "invalid_client_metadata");
    send("text/plain", b"{}".to_vec())
        .await
        .assert_error(415, "invalid_client_metadata");
    let bare = request(Method::POST, "/register", &[])
        .body(Body::from("{}"))
        .unwrap();
    world
        .send(bare)
        .await
        .assert_error(415, "invalid_client_metadata");
}

/// Regression: `gateway sample (registration)`, which stored all clients under one key.
#[tokio::test]
async fn one_registration_does_not_overwrite_another() {
    let world = World::start().await;
    let one = world.register(&["http://localhost/one"]).await;
    let other = world.register(&["http://localhost/other"]).await;
    assert_ne!(one, other);
    for (id, uri, status) in [
        (&one, "http://localhost/one", 200),
        (&other, "http://localhost/other", 200),
        (&one, "http://localhost/other", 400),
        (&other, "http://localhost/one", 400),
    ] {
        let answer = world
            .get(&world.authorize_path(id, &[("redirect_uri", uri)]))
            .await;
        assert_eq!(answer.status, status, "{uri}");
    }
}

/// Regression: `vscode#250960`, `vscode#321834`, `claude-code#84614`, `supabase/mcp#355`, `fastmcp#2027`.
#[tokio::test]
async fn a_registered_id_survives_restarts_replicas_and_rotations_of_both_kinds_of_keys() {
    let world = World::start_replicas(2, |_| {}).await;
    let old = world.register(&[REDIRECT_URI]).await;
    assert_eq!(at_both(&world, &old).await, [200, 200]);

    // Both keys open before the new one seals.
    world.rotate_client_keys("c9", &["c9", "c8"]);
    world.rotate_client_keys("c8", &["c9", "c8"]);
    let new = world.register(&[REDIRECT_URI]).await;
    assert!(
        old.contains(".c9.") && new.contains(".c8."),
        "the keys did not rotate"
    );
    world.advance(300 * 24 * 3600);
    for id in [&old, &new] {
        assert_eq!(at_both(&world, id).await, [200, 200], "after the rotation");
    }
    let world = world.restarted();
    for id in [&old, &new] {
        assert_eq!(at_both(&world, id).await, [200, 200], "after the restart");
    }

    // The old key is retired after all sessions of its ids have ended.
    world.rotate_client_keys("c8", &["c8"]);
    assert_eq!(at_both(&world, &old).await, [400, 400]);
    assert_eq!(at_both(&world, &new).await, [200, 200]);
}

/// The status of the client's authorization request at each of two replicas.
async fn at_both(world: &World, client_id: &str) -> [u16; 2] {
    let path = world.authorize_path(client_id, &[]);
    let [one, other] = [world.get(&path).await, world.get(&path).await];
    [one.status.as_u16(), other.status.as_u16()]
}

#[tokio::test]
async fn a_registered_id_survives_a_rotation_of_the_keys_of_sessions() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    world.write_keyring("k2", &["k2"]);
    assert!(world.keyring.reload().unwrap());
    assert_eq!(world.get(&world.authorize_path(&id, &[])).await.status, 200);
}

/// Registers a client over a connection from `peer`.
async fn register_from(world: &World, peer: &str, forwarded_for: &str, redirect_uri: &str) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("x-forwarded-for", forwarded_for),
    ];
    let body = json!({"redirect_uris": [redirect_uri]});
    let mut request = request(Method::POST, "/register", &headers)
        .body(Body::from(body.to_string()))
        .unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    world.send(request).await
}

const GOOD: &str = "http://localhost/cb";

/// Starts a server that trusts its gateway's network.
async fn behind_a_known_gateway() -> World {
    World::start_with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await
}

/// Registers clients until the limit refuses one.
async fn exhaust(world: &World, peer: &str, forwarded_for: &str) -> Answer {
    loop {
        let answer = register_from(world, peer, forwarded_for, GOOD).await;
        if answer.status != 201 {
            break answer;
        }
        assert!(world.next() < 1000, "never limited");
    }
}

/// Regression: `gateway sample (registration)`, which had no limit.
#[tokio::test]
async fn a_flood_of_registrations_is_limited_until_the_budget_refills() {
    let world = behind_a_known_gateway().await;
    let limited = exhaust(&world, "192.0.2.1:1000", "").await;
    limited.assert_error(429, "temporarily_unavailable");
    assert!(limited.header("retry-after").is_some());
    assert_eq!(world.counted("registration_limited"), 1);
    world.advance(10);
    let answer = register_from(&world, "192.0.2.1:1001", "", GOOD).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn refused_registrations_do_not_count_against_the_limit() {
    let world = behind_a_known_gateway().await;
    for _ in 0..1000 {
        let answer = register_from(&world, "192.0.2.1:1000", "", "javascript:alert(1)").await;
        answer.assert_error(400, "invalid_redirect_uri");
    }
    let answer = register_from(&world, "192.0.2.1:1000", "", GOOD).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_flood_from_one_address_does_not_limit_others() {
    let world = behind_a_known_gateway().await;
    exhaust(&world, "192.0.2.1:1000", "").await;
    // The header of an untrusted peer has no effect: it neither evades the limit nor exhausts that of others.
    register_from(&world, "192.0.2.1:1000", "203.0.113.9", GOOD)
        .await
        .assert_error(429, "temporarily_unavailable");
    assert_eq!(
        register_from(&world, "192.0.2.2:1000", "192.0.2.1", GOOD)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_flood_through_an_untrusted_gateway_does_not_limit_others() {
    let world = World::start().await;
    let gateway = "10.1.2.3:1000";
    for _ in 0..1000 {
        let answer = register_from(&world, gateway, "192.0.2.1", GOOD).await;
        assert_eq!(answer.status, 201);
    }
    let other = register_from(&world, gateway, "192.0.2.2", GOOD).await;
    assert_eq!(other.status, 201);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_limit_applies_to_the_client_address() {
    let world = behind_a_known_gateway().await;
    let gateway = "10.1.2.3:1000";
    exhaust(&world, gateway, "192.0.2.1").await;
    // The entries that the client wrote are left of the address that the gateway saw.
    register_from(&world, gateway, "203.0.113.9, 192.0.2.1", GOOD)
        .await
        .assert_error(429, "temporarily_unavailable");
    assert_eq!(
        register_from(&world, gateway, "192.0.2.1, 192.0.2.2", GOOD)
            .await
            .status,
        201
    );
}
