//! The lines of registrations, decisions on the consent page, and logins.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::ANA;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fixture::{REDIRECT_URI, World, request};
use crate::lines::{MEASURED, listen, take, take_one};

/// Returns the label of a registered client, as docs/audit.md tells to compute it.
pub(crate) fn label(client_id: &str) -> String {
    let digest = Sha256::digest(client_id);
    let first = digest.first_chunk().copied().unwrap();
    format!("registered:{:016x}", u64::from_be_bytes(first))
}

#[tokio::test]
async fn a_registration_names_the_client_and_the_address_behind_a_trusted_proxy() {
    listen();
    let world =
        World::start_with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let body = json!({"client_name": "A \u{202e}client\n", "redirect_uris": [REDIRECT_URI]});
    let mut request = request(Method::POST, "/register", &[("x-forwarded-for", "192.0.2.7")])
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let peer: SocketAddr = "10.0.0.1:1000".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let answer = world.send(request).await;
    let client_id = answer.json()["client_id"].as_str().unwrap().to_owned();
    let expected = json!({
        "event.action": "client_registration",
        "event.outcome": "success",
        "event.duration_ms": MEASURED,
        "client.id": label(&client_id),
        "client.name": "A ?client?",
        "client.address": "192.0.2.7",
    });
    assert_eq!(take_one("client_registration"), expected);
}

#[tokio::test]
async fn an_approval_and_a_denial_name_the_client() {
    listen();
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let expected = |outcome: &str, reason: Option<&str>| {
        let mut line = json!({
            "event.action": "consent",
            "event.outcome": outcome,
            "event.duration_ms": MEASURED,
            "client.id": label(&client_id),
        });
        if let Some(reason) = reason {
            line["event.reason"] = reason.into();
        }
        line
    };
    world.approved(&client_id).await;
    assert_eq!(take_one("consent"), expected("success", None));

    let page = world.get(&world.authorize_path(&client_id, &[])).await;
    let (sealed, csrf) = page.form();
    let fields = [("request", &*sealed), ("csrf", &csrf), ("decision", "deny")];
    world
        .post_form("/consent", &fields, &[("cookie", &page.cookie())])
        .await;
    assert_eq!(take_one("consent"), expected("failure", Some("denied")));
}

#[tokio::test]
async fn a_login_names_the_user_and_a_redeemed_code_the_session() {
    listen();
    let world = World::start().await;
    let login = world.login(ANA).await;
    let mut expected = json!({
        "event.action": "login",
        "event.outcome": "success",
        "event.duration_ms": MEASURED,
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
    });
    assert_eq!(take_one("login"), expected);
    assert_eq!(take("session_start"), Vec::<Value>::new());

    let tokens = world.redeem(&login, &[]).await.tokens();
    let session = world
        .sessions
        .open(&behalf_entra::Secret::new(&*tokens.access))
        .await
        .unwrap();
    expected["event.action"] = "session_start".into();
    expected["session.id"] = session.id.to_string().into();
    assert_eq!(take_one("session_start"), expected);
}

#[tokio::test]
async fn a_login_that_entra_refuses_has_its_reason_and_the_ids_of_entra() {
    listen();
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let refusal = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code: 53003,
        suberror: None,
        claims: None,
    };
    let fault = Fault::once([RequestKind::AuthorizationCode], refusal);
    world.entra.control().add_fault(&fault).await.unwrap();
    world.sign_in(&client_id, ANA).await;
    let mut line = take_one("login");
    let correlation_id = crate::lines::remove(&mut line, "entra.correlation_id");
    assert!(!correlation_id.as_str().unwrap().is_empty());
    let reason = crate::lines::remove(&mut line, "event.reason");
    let counted = format!("behalf_sign_ins_total{{reason={reason}}} 1");
    assert!(world.metrics.encode().contains(&counted), "{counted}");
    let expected = json!({
        "event.action": "login",
        "event.outcome": "failure",
        "event.duration_ms": MEASURED,
        "entra.error_code": 53003,
        "client.id": label(&client_id),
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_login_whose_tokens_cannot_be_checked_has_a_line() {
    listen();
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: None,
    };
    let fault = Fault::always([RequestKind::Keys], outage);
    world.entra.control().add_fault(&fault).await.unwrap();
    world.sign_in(&client_id, ANA).await;
    let expected = json!({
        "event.action": "login",
        "event.outcome": "failure",
        "event.duration_ms": MEASURED,
        "event.reason": "KeysUnavailable",
        "client.id": label(&client_id),
    });
    assert_eq!(take_one("login"), expected);
}

#[tokio::test]
async fn a_login_whose_session_cannot_be_stored_names_the_user() {
    listen();
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let control = world.entra.control();
    let hold = Fault::always([RequestKind::AuthorizationCode], Effect::Hold);
    control.add_fault(&hold).await.unwrap();
    // The store goes away while Entra redeems the code.
    let breaks = async {
        while control
            .requests_of(RequestKind::AuthorizationCode)
            .await
            .unwrap()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
        world.store.set_broken(true);
        control.clear_faults().await.unwrap();
    };
    tokio::join!(world.sign_in(&client_id, ANA), breaks);
    let expected = json!({
        "event.action": "login",
        "event.outcome": "failure",
        "event.duration_ms": MEASURED,
        "event.reason": "SessionNotKept",
        "user.id": ANA.object_id,
        "client.id": label(&client_id),
    });
    assert_eq!(take_one("login"), expected);
    let counted = r#"behalf_sign_ins_total{reason="SessionNotKept"} 1"#;
    assert!(world.metrics.encode().contains(counted));
}
