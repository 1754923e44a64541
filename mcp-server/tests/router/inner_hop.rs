//! Every rule of the layer in front of the MCP server.

use behalf_contract::{ExchangePlace, Injection, headers};
use behalf_simulators::entra::{Effect, Fault, MintRequest, RequestKind};
use behalf_simulators::people::AZURE_DEVOPS_APPLICATION_ID;
use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::json;

use crate::support::{Ask, HOST_KEY, SHAPES, World};

const HANDSHAKE: [&str; 4] = ["server/discover", "ping", "tools/list", "initialize"];

fn a_call() -> Ask {
    Ask::tool("list_pipeline_runs", json!({"top": 1}))
}

#[tokio::test]
async fn every_shape_calls_with_its_token() {
    let world = World::start().await;
    let (user, azure) = (world.user_token("ana").await, world.azure_token("ana").await);
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        let token = if shape.0 == ExchangePlace::Server {
            &user
        } else {
            &azure
        };
        let answer = pod.call(token, "list_pipeline_runs", json!({"top": 1})).await;
        assert_eq!(
            answer.structured()["runs"].as_array().unwrap().len(),
            1,
            "{shape:?}"
        );
    }
}

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
async fn takes_the_key_of_a_restarted_sidecar() {
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
async fn the_host_key_alone_shakes_hands_and_lists_tools_and_no_more() {
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
async fn a_notification_nobody_knows_is_accepted_where_it_cannot_carry_a_token() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Argument);
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let answer = pod.send(Ask::message(&cancelled)).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::ACCEPTED, ""));
    let modern = Ask::request("made/up").header("mcp-protocol-version", "2026-07-28");
    assert_eq!(pod.send(modern).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_token_in_the_wrong_place_is_not_used() {
    let world = World::start().await;
    let (user, azure) = (world.user_token("ana").await, world.azure_token("ana").await);
    let cases = [
        // The argument where the header is meant, and the other way round.
        (
            ExchangePlace::Sidecar,
            Injection::Header,
            a_call().argument(azure.as_str()),
        ),
        (
            ExchangePlace::Sidecar,
            Injection::Argument,
            a_call().bearer(&azure),
        ),
        (
            ExchangePlace::Server,
            Injection::Header,
            a_call().argument(user.as_str()),
        ),
        // Both are wanted, one is there.
        (ExchangePlace::Server, Injection::Argument, a_call().bearer(&user)),
        (
            ExchangePlace::Server,
            Injection::Argument,
            a_call().argument(user.as_str()),
        ),
        // Both are there and differ.
        (
            ExchangePlace::Server,
            Injection::Argument,
            a_call().bearer(&user).argument(azure.as_str()),
        ),
        // Something that is no token.
        (
            ExchangePlace::Sidecar,
            Injection::Argument,
            a_call().argument(json!({"a": 1})),
        ),
        (
            ExchangePlace::Sidecar,
            Injection::Argument,
            a_call().argument("two words"),
        ),
        (ExchangePlace::Sidecar, Injection::Argument, a_call().argument("")),
        (
            ExchangePlace::Sidecar,
            Injection::Header,
            a_call().header("authorization", "Basic YTpi"),
        ),
        (
            ExchangePlace::Sidecar,
            Injection::Header,
            a_call().header("authorization", "Bearer "),
        ),
    ];
    for (at, injection, ask) in cases {
        let answer = world.pod(at, injection).send(ask).await;
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{at:?} {injection:?} {answer:?}"
        );
        assert!(!answer.text.contains(&user) && !answer.text.contains(&azure));
    }
    assert!(world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clients_own_argument_is_dropped_with_the_header() {
    let world = World::start().await;
    let azure = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod.send(a_call().bearer(&azure).argument("somebody-elses")).await;
    // Unknown arguments are refused, so it did not get through.
    answer.structured();
    assert_eq!(world.azure().tokens().await.unwrap(), [azure]);
}

#[tokio::test]
async fn every_wrong_claim_is_rejected_before_anything_happens() {
    let world = World::start().await;
    let ana = || MintRequest::for_user("ana");
    let mut foreign_key = ana();
    foreign_key.foreign_key = true;
    let mut id_token = ana();
    id_token.id_token = true;
    let wrong = [
        ("another audience", ana().resource(AZURE_DEVOPS_APPLICATION_ID)),
        ("another key", foreign_key),
        ("an id token", id_token),
        ("an application", MintRequest::app_only()),
        ("expired", ana().expires_in(-600)),
        ("not yet valid", ana().claim("nbf", 4_102_444_800_i64)),
        (
            "another issuer",
            ana().claim("iss", "https://sts.contoso.example/"),
        ),
        (
            "another tenant",
            ana().claim("tid", "badc0de0-7e4a-4000-8000-00000000f00d"),
        ),
        ("no scope", ana().claim("scp", "other")),
        ("no user", ana().claim("oid", serde_json::Value::Null)),
        ("version 1", ana().claim("ver", "1.0")),
    ];
    for injection in [Injection::Header, Injection::Argument] {
        let pod = world.pod(ExchangePlace::Server, injection);
        for (what, request) in &wrong {
            let token = world.entra().mint(request).await.unwrap();
            for ask in [
                a_call().token((ExchangePlace::Server, injection), &token),
                Ask::request("tools/list").bearer(&token),
            ] {
                let answer = pod.send(ask).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}: {answer:?}");
                // The sidecar answers 502 to the client: a new login would not fix it.
                assert!(answer.headers.get(headers::REAUTHENTICATE).is_none(), "{what}");
                assert!(!answer.text.contains(&token), "{what}");
            }
        }
        for nonsense in ["nonsense", "a.b.c"] {
            let answer = pod.send(Ask::request("tools/list").bearer(nonsense)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{nonsense}");
        }
    }
    assert!(
        world
            .entra()
            .requests_of(RequestKind::OnBehalfOf)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn without_keys_nothing_is_known_about_a_token() {
    let world = World::start().await;
    let token = world.user_token("ana").await;
    let keys = vec![RequestKind::Keys];
    world
        .entra()
        .add_fault(&Fault::always(
            keys,
            Effect::Status {
                status: 503,
                retry_after_seconds: None,
            },
        ))
        .await
        .unwrap();
    let answer = world
        .pod(ExchangePlace::Server, Injection::Header)
        .send(a_call().bearer(&token))
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.headers.get("retry-after").is_some());
}

#[tokio::test]
async fn refuses_batches_compression_and_size() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod
        .send(Ask::raw(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#))
        .await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (StatusCode::BAD_REQUEST, json!(-32600))
    );

    let answer = pod
        .send(Ask::request("ping").header("content-encoding", "gzip"))
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":"{}"}}"#,
        "x".repeat(256 * 1024)
    );
    let answer = pod.send(Ask::raw(large)).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (StatusCode::PAYLOAD_TOO_LARGE, json!(-32600))
    );
}

#[rstest]
#[case::objects(r#"{"":0}"#)]
#[case::arrays("[]")]
#[case::numbers("0")]
#[tokio::test]
async fn refuses_more_values_than_any_call_has(#[case] value: &str) {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let ping = |values: String| {
        Ask::raw(format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":[{values}]}}}}"#
        ))
    };
    let answer = pod.send(ping(vec![value; 20_000].join(","))).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (StatusCode::BAD_REQUEST, json!(-32600))
    );
    let text = format!("\"{}\\\"\"", value.replace('"', "\\\"").repeat(20_000));
    let answer = pod.send(ping(text)).await;
    assert_eq!(answer.status, StatusCode::OK, "a text is one value: {answer:?}");
}

#[tokio::test]
async fn what_is_no_message_gets_the_protocols_answer_and_never_a_500() {
    let world = World::start().await;
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        for body in [
            "",
            "{",
            "null",
            "5",
            "\"x\"",
            "{}",
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":7}"#,
        ] {
            let answer = pod.send(Ask::raw(body)).await;
            assert!(answer.status.as_u16() < 500, "{shape:?} {body}: {answer:?}");
        }
        let answer = pod
            .send(Ask::request("tools/list").header("accept", "text/plain"))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
        let answer = pod
            .send(Ask::request("tools/list").header("content-type", "text/plain"))
            .await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn a_malformed_tool_call_with_a_token_is_no_500_and_shows_nothing() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Argument);
    for params in [
        json!({"arguments": {"bearerToken": token}}),
        json!({"name": 5, "arguments": {"bearerToken": token}}),
        json!({"name": "no_such_tool", "arguments": {"bearerToken": token}}),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let answer = pod.send(Ask::message(&body)).await;
        assert!(answer.status.as_u16() < 500, "{answer:?}");
        assert!(!answer.text.contains(&token));
    }
}

#[tokio::test]
async fn a_foreign_host_is_refused_and_the_clients_origin_does_not_matter() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod
        .send(Ask::request("tools/list").header("host", "evil.example"))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = pod
        .send(Ask::request("tools/list").header("origin", "https://mcp.contoso.example"))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}
