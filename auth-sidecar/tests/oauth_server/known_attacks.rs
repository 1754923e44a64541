//! Attacks and failures that other authorization servers for MCP had, as whole requests.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use behalf_entra::Secret;
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::{Answer as Press, Browser, SignInError, Visit};
use serde_json::json;

use crate::fixture::{REDIRECT_URI, World, encode, request};

/// Regression: `GHSA-c2jp-c369-7pvx`, a link that yielded a code of each user who had signed in before (confused deputy).
#[tokio::test]
async fn a_link_yields_no_code_of_a_user_who_is_signed_in_at_entra() {
    let world = World::start().await;
    world.entra_remembers_sign_ins().await;
    let control = world.entra.control();
    let browser = Browser::new().unwrap();
    let approved = world.register(&[REDIRECT_URI]).await;
    let signed_in = world.sign_in_with(&browser, &approved, ANA).await;
    assert!(signed_in.code.is_some(), "{signed_in:?}");
    let logins = control.requests_of(RequestKind::Authorize).await.unwrap().len();
    // The link names another client, or the one that Ana approved before.
    for client_id in [world.register(&[REDIRECT_URI]).await, approved] {
        let link = world.base.join(&world.authorize_path(&client_id, &[])).unwrap();
        let visit = Visit::new(link, ANA.user_name).consent(Press::Skip);
        let outcome = browser.sign_in(&visit).await;
        assert!(
            matches!(outcome, Err(SignInError::StoppedAtConsent { .. })),
            "{outcome:?}"
        );
    }
    let later = control.requests_of(RequestKind::Authorize).await.unwrap().len();
    assert_eq!(later, logins, "the link reached Entra");
}

/// Regression: `CVE-2025-62800`, a page that ran the script in a parameter of its request (XSS).
#[tokio::test]
async fn no_page_repeats_the_markup_of_a_request() {
    const MARKUP: &str = "\"'><img src=x onerror=planted()>";
    let world = World::start().await;
    let named = json!({"client_name": MARKUP, "redirect_uris": [REDIRECT_URI]});
    let registered = world.post_json("/register", &named).await.json();
    let id = registered["client_id"].as_str().unwrap();
    let consent = world.get(&world.authorize_path(id, &[])).await;
    let (sealed, csrf) = consent.form();
    let (cookie, state) = (consent.cookie(), "a-handle");
    assert!(
        consent.body.contains("&#62;&#60;img src=x"),
        "the page names the client: {}",
        consent.body
    );

    let mut answers = vec![consent];
    for name in [
        "client_id",
        "redirect_uri",
        "state",
        "resource",
        "scope",
        "prompt",
        "x",
    ] {
        answers.push(world.get(&world.authorize_path(id, &[(name, MARKUP)])).await);
    }
    for name in ["state", "code", "error", "error_description", "iss"] {
        let query = encode(&[("state", state), ("code", "x"), (name, MARKUP)]);
        answers.push(world.get(&format!("/callback?{query}")).await);
    }
    for name in ["request", "csrf", "decision", "run"] {
        let mut fields = vec![("request", &*sealed), ("csrf", &csrf), ("decision", "allow")];
        fields.retain(|(other, _)| *other != name);
        fields.push((name, MARKUP));
        for headers in [&[][..], &[("cookie", &*cookie)]] {
            answers.push(world.post_form("/consent", &fields, headers).await);
        }
    }
    answers.push(world.get(&format!("/{}", encode(&[("x", MARKUP)]))).await);
    let is_page = |kind: Option<&str>| kind.is_some_and(|kind| kind.starts_with("text/html"));
    let pages = answers
        .iter()
        .filter(|answer| is_page(answer.header("content-type")));
    assert!(pages.count() >= 15, "most answers are pages");
    for answer in &answers {
        assert!(!answer.body.contains("<img"), "{}", answer.body);
    }
}

/// Poisoned links: addresses come from the configuration, and no header of a client or gateway changes them.
#[tokio::test]
async fn a_forged_host_changes_no_address() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let forged = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "ftp"),
        ("forwarded", "host=evil.example;proto=ftp"),
    ];
    let page = world.get_with(&world.authorize_path(&id, &[]), &forged).await;
    let (sealed, csrf) = page.form();
    let fields = [("request", &*sealed), ("csrf", &csrf), ("decision", "allow")];
    let cookie = page.cookie();
    let headers = [&forged[..], &[("cookie", &*cookie)]].concat();
    let approved = world.post_form("/consent", &fields, &headers).await;
    let callback = format!("{}/callback", world.issuer_url());
    assert_eq!(approved.parameter("redirect_uri"), Some(callback));
    let mut answers = vec![page, approved];
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/mcp",
        "/mcp",
        "/callback?state=x",
    ] {
        answers.push(world.get_with(path, &forged).await);
    }
    assert!(
        answers[4].header("www-authenticate").is_some(),
        "{:?}",
        answers[4]
    );
    for answer in answers {
        let text = format!("{answer:?}");
        assert!(!text.contains("evil.example") && !text.contains("ftp:"), "{text}");
    }
}

/// Regression: `fastmcp#4265`, `fastmcp#4264`, where Claude refreshed one session from two addresses.
#[tokio::test]
async fn a_refresh_from_a_second_address_gets_usable_tokens() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", &*login.client_id),
        ("refresh_token", &*tokens.refresh),
    ];
    for address in ["192.0.2.1:1000", "203.0.113.9:1000"] {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let mut request = request(Method::POST, "/token", &form)
            .body(Body::from(encode(&fields)))
            .unwrap();
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        let renewed = world.send(request).await.tokens();
        let opened = world.sessions.open(&Secret::new(&*renewed.access)).await;
        assert!(opened.is_ok(), "{opened:?}");
    }
}
