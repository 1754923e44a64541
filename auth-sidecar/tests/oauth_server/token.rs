//! `POST /token`: codes, malformed requests and the memory for forms.

use std::convert::Infallible;
use std::future::Future;

use axum::body::{Body, Bytes};
use axum::http::Method;
use behalf_auth_sidecar::sessions::SessionError;
use behalf_entra::Secret;
use behalf_simulators::people::ANA;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, future, stream};
use tokio::sync::mpsc;

use crate::fixture::{Answer, REDIRECT_URI, VERIFIER, World, encode, flip, request};

/// Regression: `gateway sample (reusable code)`, valid for an hour.
#[tokio::test]
async fn a_reused_code_ends_its_session() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    assert!(world.sessions.open(&Secret::new(&*tokens.access)).await.is_ok());
    world.redeem(&login, &[]).await.assert_error(400, "invalid_grant");
    let opened = world.sessions.open(&Secret::new(tokens.access)).await;
    assert!(matches!(opened, Err(SessionError::Invalid)), "{opened:?}");
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    world.redeem(&login, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn at_most_one_of_two_parallel_redemptions_succeeds() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    let (one, other) = tokio::join!(world.redeem(&login, &[]), world.redeem(&login, &[]));
    let statuses = [one.status.as_u16(), other.status.as_u16()];
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
}

/// Regression: `gateway sample (reusable code)`, bound to no client and no redirect URI.
#[tokio::test]
async fn a_wrong_redemption_is_refused_and_the_code_stays_valid() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    let other_client = world.register(&[REDIRECT_URI]).await;
    let other_verifier = "b".repeat(43);
    let wrong: [(&[(&str, &str)], &str); 7] = [
        (&[("client_id", &other_client)], "invalid_grant"),
        (&[("redirect_uri", "http://127.0.0.1/other")], "invalid_grant"),
        (
            &[("redirect_uri", "http://127.0.0.1:80/callback")],
            "invalid_grant",
        ),
        (&[("code_verifier", &other_verifier)], "invalid_grant"),
        (&[("code_verifier", "short")], "invalid_request"),
        (&[("code_verifier", "")], "invalid_request"),
        (
            &[("resource", "https://other.contoso.example/mcp")],
            "invalid_target",
        ),
    ];
    for (changes, error) in wrong {
        world.redeem(&login, changes).await.assert_error(400, error);
    }
    let resource = format!("{}/", world.resource());
    assert_eq!(world.redeem(&login, &[("resource", &resource)]).await.status, 200);
}

#[tokio::test]
async fn an_oauth_2_1_client_may_leave_the_redirect_uri_out() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    assert_eq!(world.redeem(&login, &[("redirect_uri", "")]).await.status, 200);
}

#[tokio::test]
async fn a_code_expires() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    world.advance(300);
    world.redeem(&login, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn altered_codes_and_tokens_are_invalid_and_not_an_outage() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    for index in [0, 5, 9, login.code.len() / 2, login.code.len() - 2] {
        let code = flip(&login.code, index);
        world
            .redeem(&login, &[("code", &code)])
            .await
            .assert_error(400, "invalid_grant");
    }
    let tokens = world.redeem(&login, &[]).await.tokens();
    for index in [0, 5, 9, tokens.access.len() / 2, tokens.access.len() - 2] {
        let opened = world
            .sessions
            .open(&Secret::new(flip(&tokens.access, index)))
            .await;
        assert!(
            matches!(opened, Err(SessionError::Invalid)),
            "{index}: {opened:?}"
        );
        let refresh = flip(&tokens.refresh, index);
        world
            .refresh(&login.client_id, &refresh, &[])
            .await
            .assert_error(400, "invalid_grant");
    }
    for text in [
        "",
        "x",
        "bha1.k1.",
        &tokens.refresh,
        &login.code,
        &"A".repeat(100_000),
    ] {
        let opened = world.sessions.open(&Secret::new(text)).await;
        assert!(matches!(opened, Err(SessionError::Invalid)), "{opened:?}");
    }
    world
        .refresh(&login.client_id, &tokens.access, &[])
        .await
        .assert_error(400, "invalid_grant");
    assert!(world.sessions.open(&Secret::new(tokens.access)).await.is_ok());
}

/// Fields of the request, status, error.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);

/// Regression: `toolhive#6323`, a token exchange in which a token of another issuer named who may act. Regression: client ids
/// that the server forgot: `vscode#250960`, `vscode#321834`, `claude-code#84614`, `supabase/mcp#355`, `fastmcp#2027`.
#[tokio::test]
async fn malformed_requests_get_standard_errors() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let altered = flip(&id, id.len() / 2);
    let long = "x".repeat(5000);
    let cases: [Case<'_>; 16] = [
        (&[], 400, "invalid_request"),
        (&[("grant_type", "authorization_code")], 400, "invalid_request"),
        (&[("client_id", &id)], 400, "invalid_request"),
        (
            &[("client_id", "nobody"), ("grant_type", "authorization_code")],
            401,
            "invalid_client",
        ),
        (
            &[("client_id", &altered), ("grant_type", "refresh_token")],
            401,
            "invalid_client",
        ),
        (
            &[("client_id", &long), ("grant_type", "refresh_token")],
            401,
            "invalid_client",
        ),
        (&[("client_id", &id), ("client_id", &id)], 400, "invalid_request"),
        (
            &[("client_id", &id), ("grant_type", "password")],
            400,
            "unsupported_grant_type",
        ),
        (
            &[("client_id", &id), ("grant_type", "client_credentials")],
            400,
            "unsupported_grant_type",
        ),
        (
            &[
                ("client_id", &id),
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", "x"),
            ],
            400,
            "unsupported_grant_type",
        ),
        (
            &[
                ("client_id", &id),
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", "x"),
            ],
            400,
            "unsupported_grant_type",
        ),
        (
            &[("client_id", &id), ("grant_type", "authorization_code")],
            400,
            "invalid_request",
        ),
        (
            &[("client_id", &id), ("grant_type", "refresh_token")],
            400,
            "invalid_request",
        ),
        (
            &[
                ("client_id", &id),
                ("grant_type", "refresh_token"),
                ("refresh_token", "x"),
            ],
            400,
            "invalid_grant",
        ),
        (
            &[
                ("client_id", &id),
                ("grant_type", "authorization_code"),
                ("code", &long),
                ("code_verifier", VERIFIER),
            ],
            400,
            "invalid_grant",
        ),
        (
            &[
                ("client_id", &id),
                ("grant_type", "refresh_token"),
                ("refresh_token", "x"),
                ("scope", "*"),
            ],
            400,
            "invalid_scope",
        ),
    ];
    for (fields, status, error) in cases {
        world
            .post_form("/token", fields, &[])
            .await
            .assert_error(status, error);
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_form_is_refused() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    for path in ["/token", "/revoke"] {
        let send = |headers: &[(&str, &str)], body: Vec<u8>| {
            let request = request(Method::POST, path, headers)
                .body(Body::from(body))
                .unwrap();
            world.send(request)
        };
        let form = ("content-type", "application/x-www-form-urlencoded");
        send(&[], Vec::new()).await.assert_error(415, "invalid_request");
        send(&[("content-type", "application/json")], b"{}".to_vec())
            .await
            .assert_error(415, "invalid_request");
        send(&[form, ("content-encoding", "gzip")], vec![0x1f])
            .await
            .assert_error(415, "invalid_request");
        send(&[form], vec![b'a'; 64 * 1024])
            .await
            .assert_error(413, "invalid_request");
        send(&[form], "a&".repeat(100).into_bytes())
            .await
            .assert_error(400, "invalid_request");
        send(&[form], vec![0xff; 100])
            .await
            .assert_error(400, "invalid_request");
        // Parameters of a query do not count (OAuth 2.1, section 4.1.3).
        let query = encode(&[
            ("client_id", &id),
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
        ]);
        let request = request(Method::POST, &format!("{path}?{query}"), &[form])
            .body(Body::empty())
            .unwrap();
        world.send(request).await.assert_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_form_may_have_a_charset() {
    let world = World::start().await;
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let body = encode(&[("client_id", "nobody")]);
    let request = request(Method::POST, "/token", &headers)
        .body(Body::from(body))
        .unwrap();
    world.send(request).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn codes_and_tokens_are_small_and_unique() {
    let world = World::start().await;
    let (login, one) = world.session(ANA).await;
    let again = world.login_of(&login.client_id, ANA).await;
    let other = world.redeem(&again, &[]).await.tokens();
    assert_ne!(one.access, other.access);
    assert_ne!(login.code, again.code);
    assert!(
        one.access.len() < 600 && one.refresh.len() < 600,
        "{} {}",
        one.access.len(),
        one.refresh.len()
    );
    // The smallest token of Entra is larger than the whole code.
    assert!(login.code.len() < 900, "{}", login.code.len());
}

#[tokio::test]
async fn security_events_are_counted() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    world.redeem(&login, &[]).await.tokens();
    let events = [
        "grant_reused",
        "consent_refused",
        "foreign_callback",
        "token_rejected",
        "registration_limited",
    ];
    for event in events {
        assert_eq!(world.counted(event), 0, "an ordinary login is none: {event}");
    }
    world.redeem(&login, &[]).await.assert_error(400, "invalid_grant");
    world
        .get("/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAA")
        .await
        .assert_page(400);
    let form = [("request", "x"), ("csrf", "x"), ("decision", "allow")];
    world.post_form("/consent", &form, &[]).await.assert_page(403);
    for event in ["grant_reused", "foreign_callback", "consent_refused"] {
        assert_eq!(world.counted(event), 1, "{event}");
    }
}

/// Returns a form that never ends. `taken` is notified when its beginning has been read.
fn unfinished<'a>(
    world: &'a World,
    path: &str,
    begin: usize,
    taken: &mpsc::UnboundedSender<()>,
) -> impl Future<Output = Answer> + use<'a> {
    let taken = taken.clone();
    let begin = stream::once(future::ready(Ok::<_, Infallible>(Bytes::from(vec![b'a'; begin]))));
    // The reader polls for more, so it has read the bytes before. No more bytes follow.
    let rest = stream::once(async move {
        taken.send(()).unwrap();
        future::pending().await
    });
    let request = request(Method::POST, path, &[])
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from_stream(begin.chain(rest)));
    world.send(request.unwrap())
}

#[tokio::test]
async fn unfinished_forms_do_not_block_other_clients() {
    const MAX_FORM_BYTES: usize = 8 * 1024;
    const MANY: usize = 8_064;
    let world = World::start().await;
    let (taken, mut arrivals) = mpsc::unbounded_channel();
    let mut under_way: FuturesUnordered<_> = (0..MANY)
        .map(|number| {
            let path = ["/token", "/consent", "/revoke"][number % 3];
            unfinished(&world, path, MAX_FORM_BYTES, &taken)
        })
        .collect();
    for _ in 0..MANY {
        tokio::select! {
            Some(answer) = under_way.next() => panic!("{answer:?}"),
            Some(()) = arrivals.recv() => {}
        }
    }
    let client_id = world.register(&[REDIRECT_URI]).await;
    let login = world.login_of(&client_id, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    world.refresh(&client_id, &tokens.refresh, &[]).await.tokens();
    let fields = [("client_id", &*client_id), ("token", &*tokens.access)];
    let gone = world.post_form("/revoke", &fields, &[]).await;
    assert_eq!(gone.status, 200);
    let large = "a".repeat(MAX_FORM_BYTES - "x=".len());
    for path in ["/token", "/consent", "/revoke"] {
        let answer = world.post_form(path, &[("x", &large)], &[]).await;
        assert_eq!(answer.status, 400, "{path}");
    }
}

#[tokio::test]
async fn a_form_of_more_than_eight_kib_is_refused() {
    let world = World::start().await;
    let large = "a".repeat(8 * 1024 - "x=".len() + 1);
    for path in ["/token", "/revoke"] {
        let answer = world.post_form(path, &[("x", &large)], &[]).await;
        answer.assert_error(413, "invalid_request");
    }
    let answer = world.post_form("/consent", &[("x", &large)], &[]).await;
    answer.assert_page(400);
}
