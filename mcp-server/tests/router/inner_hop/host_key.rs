//! Tests the host key, and requests that carry it without a token.

use behalf_contract::{ExchangePlace, Injection, headers};
use behalf_simulators::entra::RequestKind;
use http::{Method, StatusCode};
use serde_json::json;

use super::a_call;
use crate::support::{Ask, HOST_KEY, SHAPES, World};

const HANDSHAKE: [&str; 4] = ["server/discover", "ping", "tools/list", "initialize"];

#[tokio::test]
async fn refuses_every_request_without_the_host_key() {
    let world = World::start().await;
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        let right = Ask::request("tools/list");
        assert_eq!(pod.send(right.clone()).await.status, StatusCode::OK);
        for wrong in [
            right.clone().without(headers::HOST_KEY),
            right.clone().header(headers::HOST_KEY, ""),
            right.clone().header(headers::HOST_KEY, &HOST_KEY[1..]),
            right.clone().header(headers::HOST_KEY, &format!("{HOST_KEY}x")),
            Ask {
                method: Method::GET,
                ..right.clone().without(headers::HOST_KEY)
            },
            Ask {
                path: "/other",
                ..right.clone().without(headers::HOST_KEY)
            },
        ] {
            assert_eq!(
                pod.send(wrong.clone()).await.status,
                StatusCode::FORBIDDEN,
                "{wrong:?}"
            );
        }
        let mut twice = right;
        twice
            .headers
            .append(headers::HOST_KEY, "another".parse().unwrap());
        assert_eq!(pod.send(twice).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn admits_the_key_of_a_restarted_sidecar() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let next = "n3xt-host-key-fedcba9876543210-fedcba9876543210";
    std::fs::write(world.host_key_file(), next).unwrap();
    let ask = Ask::request("tools/list").header(headers::HOST_KEY, next);
    assert_eq!(pod.send(ask).await.status, StatusCode::OK);
    assert_eq!(
        pod.send(Ask::request("tools/list")).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn the_host_key_alone_permits_the_handshake_and_the_list_of_tools_only() {
    let world = World::start().await;
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        for method in HANDSHAKE {
            let answer = pod.send(Ask::request(method)).await;
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{shape:?} {method}");
        }
        let answer = pod.send(a_call()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{shape:?}");
        for method in [
            "resources/list",
            "prompts/list",
            "completion/complete",
            "tasks/get",
            "made/up",
        ] {
            let answer = pod.send(Ask::request(method)).await;
            if shape == (ExchangePlace::Sidecar, Injection::Argument) {
                // A user's request looks the same there, so it gets the protocol's own answer.
                assert_eq!(answer.json()["error"]["code"], -32601, "{answer:?}");
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{shape:?} {method}");
            }
        }
    }
    assert!(world.azure().record().await.unwrap().is_empty());
    assert!(
        world
            .entra()
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn accepts_an_unknown_notification_where_only_tool_calls_carry_a_token() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Argument);
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let answer = pod.send(Ask::message(&cancelled)).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::ACCEPTED, ""));
    let modern = Ask::request("made/up").header("mcp-protocol-version", "2026-07-28");
    assert_eq!(pod.send(modern).await.status, StatusCode::NOT_FOUND);
}
