//! The metadata documents, CORS and unknown paths.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use behalf_contract::DynamicRegistration;
use serde_json::json;

use crate::fixture::{World, request};

const INSPECTOR: &str = "http://localhost:6274";

/// Regression: `gateway sample (metadata)`, which described no protected resource.
#[tokio::test]
async fn the_protected_resource_is_described_at_both_paths() {
    let world = World::start().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 200);
        let expected = json!({
            "resource": world.resource(),
            "authorization_servers": [world.issuer_url()],
            "scopes_supported": ["mcp:read", "mcp:run"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn both_well_known_paths_describe_the_same_issuer() {
    let world = World::start().await;
    let one = world.get("/.well-known/oauth-authorization-server").await.json();
    let other = world.get("/.well-known/openid-configuration").await.json();
    assert_eq!(one, other);
    assert_eq!(one["issuer"], world.issuer_url());
    assert_eq!(one["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(one["token_endpoint_auth_methods_supported"], json!(["none"]));
    assert_eq!(
        one["grant_types_supported"],
        json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(one["authorization_response_iss_parameter_supported"], true);
    assert_eq!(one["client_id_metadata_document_supported"], true);
}

/// Regression: `gateway sample (empty refresh token)`, which also advertised a `/revoke` that did not exist.
#[tokio::test]
async fn every_advertised_endpoint_answers() {
    let world = World::start().await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    let endpoints: Vec<_> = metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint"))
        .map(|(_, url)| {
            url.as_str()
                .unwrap()
                .strip_prefix(&world.issuer_url())
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(endpoints.len(), 4);
    for path in endpoints {
        let method = if path == "/authorize" {
            Method::GET
        } else {
            Method::POST
        };
        let answer = world
            .send(request(method, &path, &[]).body(Body::empty()).unwrap())
            .await;
        assert!(
            (400..=415).contains(&answer.status.as_u16()),
            "{path}: {}",
            answer.status
        );
        assert!(
            ![404, 405].contains(&answer.status.as_u16()),
            "{path}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn disabled_registration_is_not_advertised_and_answers_404() {
    let world =
        World::start_with(|config| config.clients.dynamic_registration = DynamicRegistration::Disabled).await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata.get("registration_endpoint"), None);
    world
        .post_json("/register", &json!({"redirect_uris": ["http://localhost/cb"]}))
        .await
        .assert_error(404, "not_found");
}

/// Regression: `gateway sample (metadata)`, which every page could read.
#[tokio::test]
async fn only_pages_of_allowed_origins_may_read_answers() {
    let world = World::start().await;
    let path = "/.well-known/oauth-authorization-server";
    for origin in [
        INSPECTOR,
        "http://127.0.0.1:1234",
        "http://[::1]:80",
        "https://claude.ai",
        "https://vscode.dev",
    ] {
        let origin = origin.trim_end_matches(":80");
        let answer = world.get_with(path, &[("origin", origin)]).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(origin),
            "{origin}"
        );
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let foreign = [
        "https://evil.example",
        "https://claude.ai.evil.example",
        "http://claude.ai",
        "https://claude.ai:8443",
        "http://localhost.evil.example",
        "http://localhost:6274/path",
        "null",
        "*",
        "chrome-extension://abc",
    ];
    for origin in foreign {
        let answer = world.get_with(path, &[("origin", origin)]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn a_preflight_is_allowed_for_api_endpoints_only() {
    let world = World::start().await;
    for path in [
        "/register",
        "/token",
        "/revoke",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let headers = [("origin", INSPECTOR), ("access-control-request-method", "POST")];
        let answer = world
            .send(
                request(Method::OPTIONS, path, &headers)
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(INSPECTOR),
            "{path}"
        );
        assert!(
            answer
                .header("access-control-allow-headers")
                .unwrap()
                .contains("Content-Type")
        );
    }
    for path in ["/authorize", "/consent", "/callback"] {
        let headers = [("origin", INSPECTOR), ("access-control-request-method", "POST")];
        let answer = world
            .send(
                request(Method::OPTIONS, path, &headers)
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_is_405_in_json() {
    let world = World::start().await;
    world.get("/nothing").await.assert_error(404, "not_found");
    // Introspection is for the administrator's socket alone.
    let introspection = [("token", "anything")];
    world
        .post_form("/introspect", &introspection, &[])
        .await
        .assert_error(404, "not_found");
    world
        .get("/.well-known/oauth-authorization-server/mcp")
        .await
        .assert_error(404, "not_found");
    let wrong = [
        (Method::GET, "/token", "POST"),
        (Method::GET, "/register", "POST"),
        (Method::DELETE, "/revoke", "POST"),
        (Method::POST, "/authorize", "GET"),
        (Method::GET, "/consent", "POST"),
        (Method::POST, "/callback", "GET"),
        (Method::HEAD, "/callback", "GET"),
        (Method::PUT, "/.well-known/oauth-protected-resource", "GET"),
    ];
    for (method, path, allowed) in wrong {
        let answer = world
            .send(request(method.clone(), path, &[]).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, 405, "{method} {path}");
        if method != Method::HEAD {
            answer.assert_error(405, "invalid_request");
            assert!(
                answer
                    .header("allow")
                    .is_some_and(|allow| allow.contains(allowed)),
                "{path} {answer:?}"
            );
        }
    }
    let head = request(Method::HEAD, "/.well-known/oauth-protected-resource", &[])
        .body(Body::empty())
        .unwrap();
    let answer = world.send(head).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_at_every_endpoint() {
    let world = World::start().await;
    // From here on the test waits only for the limit of the sidecar.
    tokio::time::pause();
    for (path, content_type) in [
        ("/token", "application/x-www-form-urlencoded"),
        ("/revoke", "application/x-www-form-urlencoded"),
        ("/consent", "application/x-www-form-urlencoded"),
        ("/register", "application/json"),
    ] {
        let stalled = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let request = request(Method::POST, path, &[("content-type", content_type)]);
        let answer = world.send(request.body(stalled).unwrap());
        let answer = tokio::time::timeout(Duration::from_hours(1), answer)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 408, "{path}");
    }
}
