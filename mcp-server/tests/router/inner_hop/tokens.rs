//! Tests where a token may arrive, and which tokens are valid.

use behalf_contract::{ExchangePlace, Injection, headers};
use behalf_simulators::entra::{Effect, Fault, MintRequest, RequestKind};
use behalf_simulators::people::AZURE_DEVOPS_APPLICATION_ID;
use http::StatusCode;
use serde_json::json;

use super::a_call;
use crate::support::{Ask, SHAPES, World};

#[tokio::test]
async fn every_configuration_calls_with_its_token() {
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
async fn drops_a_bearer_token_argument_of_the_client_with_injection_header() {
    let world = World::start().await;
    let azure = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod.send(a_call().bearer(&azure).argument("somebody-elses")).await;
    // Unknown arguments are refused, so it did not get through.
    answer.structured();
    assert_eq!(world.azure().tokens().await.unwrap(), [azure]);
}

#[tokio::test]
async fn rejects_every_wrong_claim_before_any_request() {
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
async fn answers_503_if_the_signing_keys_of_entra_are_unavailable() {
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
