//! Tests the authorization endpoint: sign-in page, consent, refusals.

use behalf_simulators::entra::{Consent, RequestKind};
use behalf_simulators::people::{ANA, CLIENT_ID};
use behalf_simulators::sign_in::{Answer, Browser, Visit};

use crate::stage::Stage;

#[tokio::test]
async fn state_comes_back_and_a_code_with_it() {
    let stage = Stage::new().await;
    let back = stage.login("ana", &[]).await.unwrap();
    assert_eq!(back.state.as_deref(), Some("a state/with+marks"));
    assert!(back.code.is_some() && back.error.is_none());
    assert!(
        back.redirect
            .query_pairs()
            .any(|(name, _)| name == "session_state")
    );
    assert!(!back.trace.join("\n").contains(&back.code.unwrap()));
}

#[tokio::test]
async fn client_and_redirect_uri_fail_on_entras_own_page() {
    let stage = Stage::new().await;
    let cases = [
        ("client_id", "00000000-0000-4000-8000-000000000000", 700_016),
        ("client_id", "", 900_144),
        ("redirect_uri", "http://localhost:18080/callback/", 50_011),
        ("redirect_uri", "http://localhost:18080/CALLBACK", 50_011),
    ];
    for (name, value, code) in cases {
        assert_eq!(
            stage.page_code("ana", &[(name, value)]).await,
            code,
            "{name}={value}"
        );
    }
}

#[tokio::test]
async fn other_mistakes_go_back_with_the_state() {
    let stage = Stage::new().await;
    let cases = [
        ("response_type", "token", "unsupported_response_type", 700_054),
        ("response_type", "", "invalid_request", 900_144),
        ("scope", "", "invalid_request", 900_144),
        ("code_challenge_method", "plain", "invalid_request", 9_002_313),
        ("code_challenge_method", "", "invalid_request", 9_002_313),
        ("code_challenge", "short", "invalid_request", 501_491),
        ("claims", "not json", "invalid_request", 9_002_313),
        ("prompt", "maybe", "invalid_request", 90_023),
        ("prompt", "none", "login_required", 50_058),
    ];
    for (name, value, error, code) in cases {
        let back = stage.login("ana", &[(name, value)]).await.unwrap();
        assert_eq!(back.error.as_deref(), Some(error), "{name}={value}");
        assert_eq!(back.state.as_deref(), Some("a state/with+marks"));
        let description = back.error_description.unwrap();
        assert!(
            description.starts_with(&format!("AADSTS{code}: ")),
            "{description}"
        );
    }
}

#[tokio::test]
async fn only_response_mode_query_is_modelled() {
    let stage = Stage::new().await;
    let url = stage.authorize_url(&[("response_mode", "form_post")]);
    assert_eq!(stage.get(url).await.status, 501);
}

#[tokio::test]
async fn a_user_who_may_not_sign_in_stays_on_the_page() {
    let stage = Stage::new().await;
    assert_eq!(stage.page_code("dora", &[]).await, 50_105);
    assert_eq!(stage.page_code("emil", &[]).await, 50_057);
    assert_eq!(stage.page_code("mallory", &[]).await, 50_034);
    stage
        .control
        .update_application(CLIENT_ID, |one| one.assignment_required = false)
        .await
        .unwrap();
    stage.login("dora", &[]).await.unwrap();
}

#[tokio::test]
async fn consent_is_asked_once_and_remembered() {
    let stage = Stage::with(|directory| directory.consents.clear()).await;
    let back = stage.login("ana", &[]).await.unwrap();
    assert!(
        back.trace.iter().any(|step| step.contains("Accept")),
        "{:?}",
        back.trace
    );
    let consents = stage.control.directory().await.unwrap().consents;
    assert_eq!(consents.len(), 2, "the application and Azure DevOps");
    assert!(
        consents
            .iter()
            .all(|consent| consent.user.as_deref() == Some(ANA.object_id))
    );
    let again = stage.login("ana", &[]).await.unwrap();
    assert!(
        !again.trace.iter().any(|step| step.contains("Accept")),
        "{:?}",
        again.trace
    );
    let asked = stage.login("ana", &[("prompt", "consent")]).await.unwrap();
    assert!(
        asked.trace.iter().any(|step| step.contains("Accept")),
        "{:?}",
        asked.trace
    );
}

#[tokio::test]
async fn declining_goes_back_with_access_denied() {
    let stage = Stage::with(|directory| directory.consents.clear()).await;
    let visit = Visit::new(stage.authorize_url(&[]), "ana").consent(Answer::Deny);
    let back = Browser::new().unwrap().sign_in(&visit).await.unwrap();
    assert_eq!(back.error.as_deref(), Some("access_denied"));
    assert!(back.error_description.unwrap().starts_with("AADSTS65004: "));
}

#[tokio::test]
async fn admin_consent_can_be_required() {
    let stage = Stage::with(|directory| {
        directory.consents = vec![Consent::by_administrator(CLIENT_ID, CLIENT_ID)];
    })
    .await;
    stage
        .control
        .update_application(CLIENT_ID, |one| one.user_consent_allowed = false)
        .await
        .unwrap();
    assert_eq!(stage.page_code("ana", &[]).await, 90_094);
}

#[tokio::test]
async fn a_browser_can_be_remembered() {
    let stage = Stage::new().await;
    let browser = Browser::new().unwrap();
    let visit = |changes: &[(&str, &str)]| Visit::new(stage.authorize_url(changes), "ana");
    browser.sign_in(&visit(&[])).await.unwrap();
    let silent = browser.sign_in(&visit(&[("prompt", "none")])).await.unwrap();
    assert!(silent.code.is_some());
    let asked = browser.sign_in(&visit(&[])).await.unwrap();
    assert_eq!(asked.trace.len(), 3, "the page is shown: {:?}", asked.trace);
    stage
        .control
        .update_settings(|one| one.single_sign_on = true)
        .await
        .unwrap();
    let skipped = browser.sign_in(&visit(&[])).await.unwrap();
    assert_eq!(skipped.trace.len(), 1, "{:?}", skipped.trace);
    let forced = browser.sign_in(&visit(&[("prompt", "login")])).await.unwrap();
    assert_eq!(forced.trace.len(), 3, "{:?}", forced.trace);
}

#[tokio::test]
async fn a_form_cannot_be_sent_twice() {
    let stage = Stage::new().await;
    let shown = Browser::new()
        .unwrap()
        .open(&stage.authorize_url(&[]))
        .await
        .unwrap();
    let form = &shown.page.forms[0];
    let button = form
        .buttons
        .iter()
        .find(|button| button.value == ANA.user_name)
        .unwrap();
    let pairs = form.submission(None, button);
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let send = async || {
        let request = http.post(shown.url.join(&form.action).unwrap()).form(&pairs);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send().await, 302);
    assert_eq!(send().await, 200, "the second one gets an error page");
    let record = stage.control.requests_of(RequestKind::SignIn).await.unwrap();
    assert_eq!(record[1].codes(), [9_002_313]);
}

#[tokio::test]
async fn names_are_escaped() {
    let stage = Stage::new().await;
    let marked = |one: &mut behalf_simulators::entra::Application| {
        "<b>\"Be&half\"</b>".clone_into(&mut one.display_name);
    };
    stage.control.update_application(CLIENT_ID, marked).await.unwrap();
    let shown = Browser::new()
        .unwrap()
        .open(&stage.authorize_url(&[]))
        .await
        .unwrap();
    assert!(
        shown.page.text.contains("<b>\"Be&half\"</b>"),
        "{}",
        shown.page.text
    );
    let hint = stage.authorize_url(&[("login_hint", "\"><script>")]);
    let shown = Browser::new().unwrap().open(&hint).await.unwrap();
    assert_eq!(shown.page.forms[0].typed_field().unwrap().value, "\"><script>");
}
