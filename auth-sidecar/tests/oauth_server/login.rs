//! Whole logins: through consent and Entra to a session.

use axum::body::Body;
use axum::http::Method;
use behalf_auth_sidecar::store::StoreKey;
use behalf_contract::Outcome;
use behalf_entra::Secret;
use behalf_simulators::entra::{Effect, Fault, IssuerFixture, MintRequest, RequestKind, ServiceAccountToken};
use behalf_simulators::people::{ANA, BEN, CLIENT_ID};
use behalf_simulators::sign_in::{Answer as Press, Browser, SignInError, Visit};

use crate::exchanged_entries::user_key;
use crate::fixture::{REDIRECT_URI, World, request};

#[tokio::test]
async fn a_whole_login_ends_in_a_session_of_that_user() {
    let world = World::start().await;
    for person in [ANA, BEN] {
        let client_id = world.register(&[REDIRECT_URI]).await;
        let signed_in = world.sign_in(&client_id, person).await;
        assert_eq!(signed_in.state.as_deref(), Some("a-state"));
        assert_eq!(signed_in.issuer, Some(world.issuer_url()));
        let login = world.login_of(&client_id, person).await;
        let answer = world.redeem(&login, &[]).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!(
            (&body["token_type"], &body["expires_in"]),
            (&"Bearer".into(), &3600.into())
        );
        assert_eq!(body["scope"], "mcp:read mcp:run");
        let session = world
            .sessions
            .open(&Secret::new(answer.tokens().access))
            .await
            .unwrap();
        assert_eq!(session.user.oid, person.object_id);
        assert_eq!(session.client_id, client_id);
        assert!(world.sessions.user_token(&session).await.is_ok());
    }
}

/// Regression: `gateway sample (second login fails)`.
#[tokio::test]
async fn a_returning_user_signs_in_again_in_the_same_browser() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let browser = Browser::new().unwrap();
    for _ in 0..6 {
        assert!(world.sign_in_with(&browser, &client_id, ANA).await.code.is_some());
    }
}

/// Regression: Entra refuses `resource` beside scopes (AADSTS9010010): `vscode#321249`, `claude-code#73460`,
/// `csharp-sdk#648`, `csharp-sdk#741`, `claude-ai-mcp#851`, `fastmcp#4839`, `azure-devops-mcp#1293`, `azure-devops-mcp#1348`.
#[tokio::test]
async fn entra_sees_the_assertion_and_no_secret_and_no_resource() {
    let world = World::start().await;
    world.login(ANA).await;
    for record in world.entra.control().requests().await.unwrap() {
        assert!(
            !record.has("client_secret") && !record.has("resource"),
            "{record:?}"
        );
        assert_eq!(record.authorization_scheme, None);
        if record.kind == RequestKind::AuthorizationCode {
            assert!(
                record.has("client_assertion") && record.has("code_verifier"),
                "{record:?}"
            );
            assert!(record.scope.unwrap().contains("offline_access"));
        }
    }
}

#[tokio::test]
async fn without_consent_there_is_no_login() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let url = world.base.join(&world.authorize_path(&client_id, &[])).unwrap();
    let visit = Visit::new(url, ANA.user_name)
        .consent(Press::Skip)
        .client_name("A test client");
    let outcome = Browser::new().unwrap().sign_in(&visit).await;
    assert!(
        matches!(outcome, Err(SignInError::StoppedAtConsent { .. })),
        "{outcome:?}"
    );
    assert!(
        world
            .entra
            .control()
            .requests_of(RequestKind::Authorize)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Regression: `gateway sample (state as cache key)`, with which a client could name an entry of somebody else.
#[tokio::test]
async fn every_state_of_a_client_comes_back_unchanged_and_touches_no_entry_of_the_store() {
    let world = World::start().await;
    let (login, _) = world.session(BEN).await;
    world.login_of(&login.client_id, ANA).await;
    let sessions_of_ana = StoreKey::User(user_key(ANA));
    for state in [
        "EntraToken-x",
        "ClientInfo-x",
        "CSRF-x",
        "../../x",
        "a b&c=d\u{e9}\"<>",
        "%00",
        "",
    ] {
        let before = world.store.entries().await;
        let path = world.authorize_path(&login.client_id, &[("state", state)]);
        let visit = Visit::new(world.base.join(&path).unwrap(), ANA.user_name);
        let signed_in = Browser::new().unwrap().sign_in(&visit).await.unwrap();
        // Without a value the request has no parameter.
        assert_eq!(
            signed_in.state.as_deref(),
            Some(state).filter(|state| !state.is_empty())
        );
        assert!(signed_in.code.is_some());

        let mut after = world.store.entries().await;
        for (key, entry) in before.iter().filter(|(key, _)| **key != sessions_of_ana) {
            assert_eq!(after.remove(key).as_ref(), Some(entry), "{state} changed {key:?}");
        }
        after.remove(&sessions_of_ana);
        let new: Vec<_> = after.into_keys().collect();
        assert!(
            matches!(new[..], [StoreKey::Session(_), StoreKey::Finished(_)]),
            "an ordinary login writes these: {new:?}"
        );
    }
}

#[tokio::test]
async fn a_user_who_declines_at_entra_is_denied() {
    let world = World::start().await;
    let control = world.entra.control();
    control.put_consents(&[]).await.unwrap();
    let client_id = world.register(&[REDIRECT_URI]).await;
    let url = world.base.join(&world.authorize_path(&client_id, &[])).unwrap();
    let visit = Visit::new(url, ANA.user_name).entra_consent(Press::Deny);
    let signed_in = Browser::new().unwrap().sign_in(&visit).await.unwrap();
    assert_eq!(signed_in.error.as_deref(), Some("access_denied"));
    assert_eq!(signed_in.state.as_deref(), Some("a-state"));
}

#[tokio::test]
async fn a_failed_redemption_gives_the_error_that_names_who_can_act() {
    let world = World::start().await;
    let control = world.entra.control();
    let client_id = world.register(&[REDIRECT_URI]).await;
    let code = [RequestKind::AuthorizationCode];
    let refusal = |status, error: &str, code| Effect::Refusal {
        status,
        error: error.to_owned(),
        code,
        suberror: None,
        claims: None,
    };
    let cases = [
        (
            Effect::Status {
                status: 503,
                retry_after_seconds: None,
            },
            "temporarily_unavailable",
        ),
        (Effect::Reset, "temporarily_unavailable"),
        (Effect::Html { status: 200 }, "temporarily_unavailable"),
        (
            Effect::Throttled {
                retry_after_seconds: Some(30),
            },
            "temporarily_unavailable",
        ),
        (refusal(400, "invalid_grant", 53003), "access_denied"),
        (refusal(400, "invalid_grant", 54005), "access_denied"),
        (refusal(400, "invalid_request", 900_144), "server_error"),
    ];
    for (effect, expected) in cases {
        control
            .add_fault(&Fault::once(code, effect.clone()))
            .await
            .unwrap();
        let signed_in = world.sign_in(&client_id, ANA).await;
        assert_eq!(signed_in.error.as_deref(), Some(expected), "{effect:?}");
        assert_eq!(signed_in.state.as_deref(), Some("a-state"));
    }
    let foreign = world
        .issuer
        .mint(&ServiceAccountToken::of(IssuerFixture::SUBJECT).foreign_key())
        .unwrap();
    world.write_token(&foreign);
    assert_eq!(
        world.sign_in(&client_id, ANA).await.error.as_deref(),
        Some("server_error")
    );
    let requested = std::pin::pin!(world.trigger.requested());
    assert!(
        futures::poll!(requested).is_ready(),
        "the federation is probed at once"
    );
    world.write_token(&world.issuer.token().unwrap());
    assert!(
        world.sign_in(&client_id, ANA).await.code.is_some(),
        "works again without a restart"
    );
}

#[tokio::test]
async fn a_token_of_another_version_is_refused_and_reported() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let control = world.entra.control();
    control
        .update_application(CLIENT_ID, |application| application.access_token_version = 1)
        .await
        .unwrap();
    let signed_in = world.sign_in(&client_id, ANA).await;
    assert_eq!(signed_in.error.as_deref(), Some("server_error"));
    assert_eq!(signed_in.code, None);
    assert_eq!(world.counted("token_rejected"), 1);
    // Every user gets this refusal, so the status must report it.
    let report = world.sign_ins.report();
    assert_eq!(
        (report.outcome, report.reason.as_str()),
        (Outcome::Failed, "AppMisconfigured")
    );
    assert!(
        report.message.contains("requestedAccessTokenVersion"),
        "{}",
        report.message
    );
}

#[tokio::test]
async fn a_refusal_that_every_user_gets_is_reported_until_a_login_succeeds() {
    let world = World::start().await;
    assert_eq!(world.sign_ins.report().outcome, Outcome::Unknown);
    let client_id = world.register(&[REDIRECT_URI]).await;
    let code = [RequestKind::AuthorizationCode];
    let refused = |code| Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code,
        suberror: None,
        claims: None,
    };
    let control = world.entra.control();
    let fault = |number| Fault::once(code, refused(number));
    // An unassigned user: it concerns one user.
    control.add_fault(&fault(50_105)).await.unwrap();
    assert_eq!(world.sign_in(&client_id, ANA).await.code, None);
    assert_eq!(world.sign_ins.report().outcome, Outcome::Unknown);
    // A permission that the application does not declare: it concerns every user.
    control.add_fault(&fault(650_057)).await.unwrap();
    assert_eq!(world.sign_in(&client_id, ANA).await.code, None);
    assert_eq!(world.sign_ins.report().reason, "PermissionMissing");
    world.login_of(&client_id, ANA).await;
    let report = world.sign_ins.report();
    assert_eq!(report.reason, "NotObserved", "the exchange is not observed yet");
    let page = world.metrics.encode();
    for reason in ["UserNotAssigned", "PermissionMissing", "SignedIn"] {
        let line = format!("behalf_sign_ins_total{{reason=\"{reason}\"}} 1");
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn an_unreachable_store_makes_the_login_temporarily_unavailable() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    world.store.set_broken(true);
    let signed_in = world.sign_in(&client_id, ANA).await;
    assert_eq!(signed_in.error.as_deref(), Some("temporarily_unavailable"));
    world.store.set_broken(false);
    assert!(world.sign_in(&client_id, ANA).await.code.is_some());
}

/// A new replica whose first request is a token of Entra as bearer, while Entra's keys cannot be read.
#[tokio::test]
async fn a_login_does_not_wait_for_a_pause_that_tokens_of_callers_caused() {
    let world =
        World::start_with(|config| config.clients.entra_token_clients = vec![CLIENT_ID.to_owned()]).await;
    let control = world.entra.control();
    let token = control.mint(&MintRequest::for_user(ANA.user_name)).await.unwrap();
    let present = async || {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &*authorization),
        ];
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let request = request(Method::POST, "/mcp", &headers).body(Body::from(message));
        world.send(request.unwrap()).await
    };
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: None,
    };
    let fault = Fault::always([RequestKind::Keys], outage);
    control.add_fault(&fault).await.unwrap();
    assert_eq!(present().await.status, 503);
    control.clear_faults().await.unwrap();
    assert!(
        present().await.header("retry-after").is_some(),
        "the pause of callers goes on"
    );
    world.login(ANA).await;
}
