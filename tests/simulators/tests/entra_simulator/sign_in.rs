//! The person in the browser, against a stand-in for Behalf's consent page.

use std::sync::Arc;

use axum::extract::{Form, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use behalf_simulators::listener::{Listener, Serving};
use behalf_simulators::sign_in::{Answer, Browser, SignInError, Visit};
use serde::Deserialize;
use url::Url;

use crate::stage::Stage;

/// The deviation of the stand-in.
#[derive(Clone, Copy, Default)]
struct Quirks {
    policy: &'static str,
}

struct Front {
    entra: Url,
    quirks: Quirks,
}

type Shared = State<Arc<Front>>;

const COOKIE: &str = "__Host-flow=1; Path=/; Secure; HttpOnly; SameSite=Lax";

async fn page(State(front): Shared) -> Response {
    let page = "<title>Allow?</title><h1>Demo client</h1><form method=post action=/consent>\
        <input type=hidden name=csrf value=t0k3n><button name=decision value=allow>Allow</button>\
        <button name=decision value=deny>Deny</button></form>";
    let headers = [
        ("content-security-policy", front.quirks.policy),
        ("set-cookie", COOKIE),
    ];
    (headers, Html(page)).into_response()
}

#[derive(Deserialize)]
struct Decision {
    csrf: String,
    decision: String,
}

async fn consent(State(front): Shared, headers: http::HeaderMap, Form(form): Form<Decision>) -> Response {
    let get = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let host = format!("http://{}", get("host"));
    let genuine = get("cookie").contains("__Host-flow=1")
        && get("origin") == host
        && get("sec-fetch-site") == "same-origin"
        && form.csrf == "t0k3n";
    if !genuine {
        return (http::StatusCode::FORBIDDEN, "not from the page").into_response();
    }
    if form.decision == "deny" {
        return Redirect::to("http://127.0.0.1:33418/?error=access_denied&state=s&iss=i").into_response();
    }
    Redirect::to(front.entra.as_str()).into_response()
}

async fn callback(headers: http::HeaderMap, Query(query): Query<Vec<(String, String)>>) -> Response {
    let cookie = headers
        .get("cookie")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !cookie.contains("__Host-flow=1") || !query.iter().any(|(name, _)| name == "code") {
        return http::StatusCode::BAD_REQUEST.into_response();
    }
    Redirect::to("http://127.0.0.1:33418/?code=client-code&state=s&iss=i").into_response()
}

/// The stand-in's authorize URL, as a client would open it.
async fn front(quirks: Quirks) -> (Stage, Serving, Url) {
    let stage = Stage::new().await;
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let base = format!("http://localhost:{}", listener.address().port());
    let own = format!("{base}/callback");
    stage
        .control
        .add_redirect_uri(behalf_simulators::people::CLIENT_ID, &own)
        .await
        .unwrap();
    let entra = stage.authorize_url(&[("redirect_uri", &own)]);
    let router = axum::Router::new()
        .route("/authorize", get(page))
        .route("/consent", post(consent))
        .route("/callback", get(callback))
        .with_state(Arc::new(Front { entra, quirks }));
    let serving = listener.serve(router);
    let mut url = Url::parse(&format!("{base}/authorize")).unwrap();
    url.query_pairs_mut()
        .append_pair("redirect_uri", "http://127.0.0.1:33418/")
        .append_pair("state", "s");
    (stage, serving, url)
}

#[tokio::test]
async fn goes_all_the_way_with_host_cookies_on_localhost() {
    let (_stage, _serving, url) = front(Quirks::default()).await;
    let visit = Visit::new(url, "ana").client_name("Demo client");
    let back = Browser::new().unwrap().sign_in(&visit).await.unwrap();
    assert_eq!(back.code.as_deref(), Some("client-code"));
    assert_eq!(
        (back.state.as_deref(), back.issuer.as_deref()),
        (Some("s"), Some("i"))
    );
    let trace = back.trace.join("\n");
    assert!(
        trace.contains("pressed \"Allow\"") && trace.contains("pressed \"Next\""),
        "{trace}"
    );
    assert!(
        !trace.contains("client-code") && !trace.contains("t0k3n"),
        "{trace}"
    );
    assert!(!format!("{back:?}").contains("client-code"));
}

#[tokio::test]
async fn can_refuse_or_leave_the_page_alone() {
    let (_stage, _serving, url) = front(Quirks::default()).await;
    let browser = Browser::new().unwrap();
    let refused = browser
        .sign_in(&Visit::new(url.clone(), "ana").consent(Answer::Deny))
        .await
        .unwrap();
    assert_eq!(refused.error.as_deref(), Some("access_denied"));
    let skipped = browser
        .sign_in(&Visit::new(url, "ana").consent(Answer::Skip))
        .await;
    let Err(SignInError::StoppedAtConsent { shown }) = skipped else {
        panic!("{skipped:?}")
    };
    assert!(shown.page.text.contains("Demo client"));
}

#[tokio::test]
async fn notices_a_page_that_does_not_name_the_client() {
    let (_stage, _serving, url) = front(Quirks::default()).await;
    let visit = Visit::new(url, "ana").client_name("Somebody else");
    let failed = Browser::new().unwrap().sign_in(&visit).await;
    assert!(
        matches!(failed, Err(SignInError::ClientNotNamed { .. })),
        "{failed:?}"
    );
}

#[tokio::test]
async fn is_stopped_by_form_action_like_chromium() {
    let (_stage, _serving, url) = front(Quirks {
        policy: "form-action 'self'",
    })
    .await;
    let failed = Browser::new().unwrap().sign_in(&Visit::new(url, "ana")).await;
    assert!(
        matches!(failed, Err(SignInError::FormBlocked { .. })),
        "{failed:?}"
    );
}

#[tokio::test]
async fn reports_entras_page_and_dead_ends() {
    let (_stage, _serving, url) = front(Quirks::default()).await;
    let failed = Browser::new()
        .unwrap()
        .sign_in(&Visit::new(url.clone(), "dora"))
        .await;
    assert!(
        matches!(failed, Err(SignInError::Entra { code: 50_105, .. })),
        "{failed:?}"
    );
    let bare = Url::parse("http://localhost:1/authorize").unwrap();
    let failed = Browser::new().unwrap().sign_in(&Visit::new(bare, "ana")).await;
    assert!(matches!(failed, Err(SignInError::NoRedirectUri)));
    let mut lost = url;
    lost.set_path("/consent");
    let failed = Browser::new().unwrap().sign_in(&Visit::new(lost, "ana")).await;
    assert!(
        matches!(failed, Err(SignInError::Refused { status: 405, .. })),
        "{failed:?}"
    );
}
