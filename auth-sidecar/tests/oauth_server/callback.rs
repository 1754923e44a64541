//! `GET /callback`: the browser returns from Entra.

use axum::body::Body;
use axum::http::Method;
use behalf_contract::Outcome;
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::{Browser, Visit};
use url::Url;

use crate::fixture::{Answer, REDIRECT_URI, World, flip, parameter, request};

/// Approves a request. Returns the authorization URL at Entra, and the flow cookie.
async fn approved(world: &World) -> (Url, String) {
    let client_id = world.register(&[REDIRECT_URI]).await;
    let answer = world.approved(&client_id).await;
    (answer.location(), answer.cookie())
}

/// Signs in at Entra. Returns the URL of the callback without following it.
async fn at_entra(authorize: &Url) -> Url {
    Browser::new()
        .unwrap()
        .sign_in(&Visit::new(authorize.clone(), ANA.user_name))
        .await
        .unwrap()
        .redirect
}

async fn call_back(world: &World, redirect: &Url, cookie: &str) -> Answer {
    let path = format!("{}?{}", redirect.path(), redirect.query().unwrap_or_default());
    world.get_with(&path, &[("cookie", cookie)]).await
}

/// Regression: `GHSA-rww4-4w9c-7733` (`CVE-2026-27124`), a login that one browser approved and another one finished.
#[tokio::test]
async fn a_callback_without_its_cookie_is_a_page_and_the_flow_stays_valid() {
    let world = World::start().await;
    let (authorize, cookie) = approved(&world).await;
    let (_, foreign_cookie) = approved(&world).await;
    let redirect = at_entra(&authorize).await;
    let handle = parameter(&authorize, "state").unwrap();
    let (_, value) = cookie.split_once('=').unwrap();
    let flipped = format!("__Host-behalf-flow-{handle}={}", flip(value, 60));
    let renamed = format!(
        "__Host-behalf-flow-{handle}={}",
        foreign_cookie.split_once('=').unwrap().1
    );
    for cookie in [
        "",
        &foreign_cookie,
        &flipped,
        &renamed,
        "__Host-behalf-flow-=x",
        "nonsense",
    ] {
        let answer = call_back(&world, &redirect, cookie).await;
        answer.assert_page(400);
        assert!(
            answer
                .body
                .contains("This sign-in was not started in this browser"),
            "{}",
            answer.body
        );
    }
    let answer = call_back(&world, &redirect, &cookie).await;
    assert!(
        answer.parameter("code").is_some(),
        "the right browser still gets in: {answer:?}"
    );
}

#[tokio::test]
async fn made_up_codes_cause_one_request_to_entra_for_each_approval() {
    let world = World::start().await;
    let (authorize, cookie) = approved(&world).await;
    let mut redirect = world.base.join("/callback").unwrap();
    let handle = parameter(&authorize, "state").unwrap();
    redirect.set_query(Some(&format!("state={handle}&code=made-up")));
    for _ in 0..5 {
        let answer = call_back(&world, &redirect, &cookie).await;
        assert!(answer.parameter("error").is_some(), "{answer:?}");
    }
    let control = world.entra.control();
    let requests = control.requests_of(RequestKind::AuthorizationCode).await;
    assert_eq!(requests.unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_callback_of_a_flow_is_refused() {
    let world = World::start().await;
    let (authorize, cookie) = approved(&world).await;
    let redirect = at_entra(&authorize).await;
    let answer = call_back(&world, &redirect, &cookie).await;
    assert!(answer.parameter("code").is_some());
    let removed = answer.header("set-cookie").unwrap();
    assert!(
        removed.contains("Max-Age=0") && removed.starts_with(cookie.split_once('=').unwrap().0),
        "{removed}"
    );
    // A browser may keep the removed cookie.
    let again = call_back(&world, &redirect, &cookie).await;
    assert_eq!(
        (again.parameter("code"), again.parameter("error").as_deref()),
        (None, Some("access_denied"))
    );
}

#[tokio::test]
async fn a_second_code_for_the_same_flow_is_refused() {
    let world = World::start().await;
    let (authorize, cookie) = approved(&world).await;
    let [first, second] = [at_entra(&authorize).await, at_entra(&authorize).await];
    assert!(
        call_back(&world, &first, &cookie)
            .await
            .parameter("code")
            .is_some()
    );
    let answer = call_back(&world, &second, &cookie).await;
    assert_eq!(answer.parameter("error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn a_code_of_another_login_is_refused() {
    let world = World::start().await;
    let (mine, cookie) = approved(&world).await;
    let (other, _) = approved(&world).await;
    let code = parameter(&at_entra(&other).await, "code").unwrap();
    let mut redirect = world.base.join("/callback").unwrap();
    redirect
        .query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &parameter(&mine, "state").unwrap());
    let answer = call_back(&world, &redirect, &cookie).await;
    assert_eq!(answer.parameter("code"), None);
    assert!(answer.parameter("error").is_some());
}

#[tokio::test]
async fn a_callback_after_ten_minutes_is_a_page() {
    let world = World::start().await;
    let (authorize, cookie) = approved(&world).await;
    let redirect = at_entra(&authorize).await;
    world.advance(601);
    let answer = call_back(&world, &redirect, &cookie).await;
    answer.assert_page(400);
    assert!(
        answer
            .body
            .contains("The sign-in at Microsoft Entra took longer than ten minutes"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn malformed_callbacks_are_pages() {
    let world = World::start().await;
    let (_, cookie) = approved(&world).await;
    let long = "s".repeat(20_000);
    for query in [
        "",
        "code=x",
        "state=",
        "state=x&state=y",
        "state=%FF%00",
        "error=access_denied",
        &"a=1&".repeat(60),
    ] {
        let answer = world
            .get_with(&format!("/callback?{query}"), &[("cookie", &cookie)])
            .await;
        answer.assert_page(400);
    }
    world
        .get_with(&format!("/callback?state={long}"), &[])
        .await
        .assert_page(400);
}

#[tokio::test]
async fn a_head_request_to_the_callback_redeems_nothing() {
    let world = World::start().await;
    let (authorize, cookie) = approved(&world).await;
    let redirect = at_entra(&authorize).await;
    let path = format!("{}?{}", redirect.path(), redirect.query().unwrap());
    let head = request(Method::HEAD, &path, &[("cookie", &cookie)])
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(head).await.status, 405);
    assert!(
        call_back(&world, &redirect, &cookie)
            .await
            .parameter("code")
            .is_some()
    );
}

#[tokio::test]
async fn an_error_of_entra_on_the_redirect_becomes_an_oauth_error_for_the_client() {
    let world = World::start().await;
    let cases = [
        (
            "access_denied",
            "AADSTS65004: User declined to consent ana@contoso.example",
            "access_denied",
        ),
        (
            "temporarily_unavailable",
            "AADSTS90033: A transient error",
            "temporarily_unavailable",
        ),
        ("server_error", "", "temporarily_unavailable"),
        ("invalid_request", "AADSTS900144: missing", "server_error"),
        ("consent_required", "AADSTS65001", "access_denied"),
        ("<script>", "", "server_error"),
    ];
    for (error, description, expected) in cases {
        let (authorize, cookie) = approved(&world).await;
        let mut redirect = world.base.join("/callback").unwrap();
        redirect
            .query_pairs_mut()
            .append_pair("error", error)
            .append_pair("error_description", description)
            .append_pair("state", &parameter(&authorize, "state").unwrap());
        let answer = call_back(&world, &redirect, &cookie).await;
        assert_eq!(answer.parameter("error").as_deref(), Some(expected), "{error}");
        assert_eq!(answer.parameter("state").as_deref(), Some("a-state"));
        assert_eq!(answer.parameter("iss"), Some(world.issuer_url()));
        let text = answer.parameter("error_description").unwrap();
        assert!(!text.contains("ana@") && !text.contains("script"), "{text}");
        assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    }
}

#[tokio::test]
async fn a_forged_callback_does_not_change_the_status() {
    let world = World::start().await;
    let (url, cookie) = approved(&world).await;
    let handle = parameter(&at_entra(&url).await, "state").unwrap();
    let forged = format!("/callback?state={handle}&error=invalid_grant&error_description=AADSTS650057%3A+no");
    let answer = world.get_with(&forged, &[("cookie", &cookie)]).await;
    assert!(answer.status.is_redirection(), "{}", answer.status);
    assert_eq!(world.sign_ins.report().outcome, Outcome::Unknown);
}
