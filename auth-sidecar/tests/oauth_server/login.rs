use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_auth_sidecar::sessions::SignInAgain;
use behalf_auth_sidecar::store::{SessionStore as _, StoreKey};
use behalf_contract::Outcome;
use behalf_entra::Secret;
use behalf_simulators::entra::{Effect, Fault, IssuerFixture, RequestKind, ServiceAccountToken};
use behalf_simulators::people::{ANA, BEN, CLIENT_ID, Person, TENANT_ID};
use behalf_simulators::sign_in::{Answer as Press, Browser, SignInError, Visit};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::fixture::{Answer, REDIRECT_URI, World, flip, parameter, request};

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

#[tokio::test]
async fn a_returning_user_signs_in_again_in_the_same_browser() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let browser = Browser::new().unwrap();
    for _ in 0..6 {
        assert!(world.sign_in_with(&browser, &client_id, ANA).await.code.is_some());
    }
}

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

#[tokio::test]
async fn a_client_chooses_any_state_and_it_touches_nothing() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    for state in [
        "EntraToken-x",
        "ClientInfo-x",
        "CSRF-x",
        "../../x",
        "a b&c=d\u{e9}\"<>",
        "%00",
    ] {
        let url = world
            .base
            .join(&world.authorize_path(&client_id, &[("state", state)]))
            .unwrap();
        let signed_in = Browser::new()
            .unwrap()
            .sign_in(&Visit::new(url, ANA.user_name))
            .await
            .unwrap();
        assert_eq!(signed_in.state.as_deref(), Some(state));
        assert!(signed_in.code.is_some());
    }
    let url = world
        .base
        .join(&world.authorize_path(&client_id, &[("state", "")]))
        .unwrap();
    let signed_in = Browser::new()
        .unwrap()
        .sign_in(&Visit::new(url, ANA.user_name))
        .await
        .unwrap();
    assert_eq!((signed_in.state, signed_in.code.is_some()), (None, true));
}

/// Approved, and on the way to Entra: the address there, and the browser's cookies.
async fn approved(world: &World) -> (Url, String) {
    let client_id = world.register(&[REDIRECT_URI]).await;
    let page = world.get(&world.authorize_path(&client_id, &[])).await;
    let (request, csrf) = page.form();
    let (name, value) = page.cookies().remove(0);
    let fields = [("request", &*request), ("csrf", &csrf), ("decision", "allow")];
    let answer = world
        .post_form("/consent", &fields, &[("cookie", &format!("{name}={value}"))])
        .await;
    let (name, value) = answer.cookies().remove(0);
    (answer.location(), format!("{name}={value}"))
}

/// Signs in at Entra and stops before our callback.
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

#[tokio::test]
async fn a_callback_without_its_cookie_is_a_page_and_loses_nothing() {
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
async fn a_callback_counts_once() {
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
    // A browser that kept the cookie all the same.
    let again = call_back(&world, &redirect, &cookie).await;
    assert_eq!(
        (again.parameter("code"), again.parameter("error").as_deref()),
        (None, Some("access_denied"))
    );
}

#[tokio::test]
async fn one_flow_takes_no_second_login_even_with_another_code() {
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
async fn a_look_at_the_callback_redeems_nothing() {
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
async fn what_entra_says_on_the_redirect_reaches_the_client_in_oauth_terms() {
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
async fn failures_of_the_redemption_say_who_can_help() {
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
    let woken = std::pin::pin!(world.trigger.woken());
    assert!(
        futures::poll!(woken).is_ready(),
        "the federation is probed at once"
    );
    world.write_token(&world.issuer.token().unwrap());
    assert!(
        world.sign_in(&client_id, ANA).await.code.is_some(),
        "mended without a restart"
    );
}

#[tokio::test]
async fn a_token_that_is_not_of_this_application_signs_nobody_in() {
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
    // Every user meets it, so that the status has to say it.
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
async fn what_every_user_meets_at_a_login_is_shown_until_one_ends_well() {
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
    // Not assigned: the matter of one user.
    control.add_fault(&fault(50_105)).await.unwrap();
    assert_eq!(world.sign_in(&client_id, ANA).await.code, None);
    assert_eq!(world.sign_ins.report().outcome, Outcome::Unknown);
    // A permission that the application does not declare: nobody gets in.
    control.add_fault(&fault(650_057)).await.unwrap();
    assert_eq!(world.sign_in(&client_id, ANA).await.code, None);
    assert_eq!(world.sign_ins.report().reason, "PermissionMissing");
    world.login_of(&client_id, ANA).await;
    let report = world.sign_ins.report();
    assert_eq!(report.reason, "NotObserved", "what remains is the exchange");
    let page = world.metrics.encode();
    for reason in ["UserNotAssigned", "PermissionMissing", "SignedIn"] {
        let line = format!("behalf_sign_ins_total{{reason=\"{reason}\"}} 1");
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn what_somebody_writes_into_a_callback_shows_nothing_of_the_application() {
    let world = World::start().await;
    let (url, cookie) = approved(&world).await;
    let handle = parameter(&at_entra(&url).await, "state").unwrap();
    let forged = format!("/callback?state={handle}&error=invalid_grant&error_description=AADSTS650057%3A+no");
    let answer = world.get_with(&forged, &[("cookie", &cookie)]).await;
    assert!(answer.status.is_redirection(), "{}", answer.status);
    assert_eq!(world.sign_ins.report().outcome, Outcome::Unknown);
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_delays_the_login() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    world.store.set_broken(true);
    let signed_in = world.sign_in(&client_id, ANA).await;
    assert_eq!(signed_in.error.as_deref(), Some("temporarily_unavailable"));
    world.store.set_broken(false);
    assert!(world.sign_in(&client_id, ANA).await.code.is_some());
}

/// Claims that went to Entra's authorize endpoint, in order.
async fn claims_sent(world: &World) -> Vec<Option<String>> {
    let records = world
        .entra
        .control()
        .requests_of(RequestKind::Authorize)
        .await
        .unwrap();
    records.into_iter().map(|record| record.claims).collect()
}

#[tokio::test]
async fn pending_claims_of_user_and_client_are_sent_once() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let login = world.login_of(&client_id, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let session = world.sessions.open(&Secret::new(tokens.access)).await.unwrap();
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned();
    world
        .sessions
        .require_sign_in(&session, Some(claims.clone()))
        .await
        .unwrap();
    let before = claims_sent(&world).await.len();

    world.login_of(&client_id, BEN).await;
    world.login(ANA).await;
    assert_eq!(
        claims_sent(&world).await[before..],
        [None, None],
        "neither another user nor another client"
    );
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        claims_sent(&world).await[before + 2..],
        [None, Some(claims)],
        "one further trip"
    );
    world.login_of(&client_id, ANA).await;
    assert_eq!(claims_sent(&world).await[before + 4..], [None], "and never again");
}

#[tokio::test]
async fn a_consent_that_entra_wants_is_asked_for_once() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let login = world.login_of(&client_id, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let session = world.sessions.open(&Secret::new(tokens.access)).await.unwrap();
    world
        .sessions
        .require_sign_in(
            &session,
            SignInAgain {
                claims: None,
                consent: true,
            },
        )
        .await
        .unwrap();
    let before = claims_sent(&world).await.len();
    world.login_of(&client_id, ANA).await;
    let records = world
        .entra
        .control()
        .requests_of(RequestKind::Authorize)
        .await
        .unwrap();
    let prompts: Vec<_> = records[before..]
        .iter()
        .map(|record| record.prompt.as_deref())
        .collect();
    assert_eq!(prompts, [None, Some("consent")]);
}

#[tokio::test]
async fn a_policy_that_applies_to_the_redemption_is_met_with_one_further_trip() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let effect = Effect::Refusal {
        status: 400,
        error: "interaction_required".to_owned(),
        code: 50076,
        suberror: Some("basic_action".to_owned()),
        claims: Some(claims.to_owned()),
    };
    let control = world.entra.control();
    control
        .add_fault(&Fault::once([RequestKind::AuthorizationCode], effect.clone()))
        .await
        .unwrap();
    assert!(world.sign_in(&client_id, ANA).await.code.is_some());
    assert_eq!(claims_sent(&world).await, [None, Some(claims.to_owned())]);
    control
        .add_fault(&Fault::always([RequestKind::AuthorizationCode], effect))
        .await
        .unwrap();
    let signed_in = world.sign_in(&client_id, ANA).await;
    assert_eq!(signed_in.error.as_deref(), Some("access_denied"), "no loop");
    assert_eq!(claims_sent(&world).await.len(), 4);
}

/// A server that wants the user, in the words of the inner hop.
async fn server_that_wants(json: &str) -> wiremock::MockServer {
    let server = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(401)
        .insert_header("x-behalf-reauthenticate", URL_SAFE_NO_PAD.encode(json));
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_consent_that_the_server_misses_is_asked_for_once_at_the_next_login() {
    let server = server_that_wants(r#"{"reason":"GrantExpired","consent":true}"#).await;
    let world = World::start_with(|config| {
        config.upstream = format!("{}/mcp", server.uri()).parse().unwrap();
        config.token_exchange.at = behalf_contract::ExchangePlace::Server;
    })
    .await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let login = world.login_of(&client_id, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let before = prompts_sent(&world).await.len();
    for _ in 0..2 {
        let call = request(Method::POST, "/mcp", &[("content-type", "application/json")])
            .header("authorization", format!("Bearer {}", tokens.access))
            .body(Body::from(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run"}}"#,
            ));
        assert_eq!(world.send(call.unwrap()).await.status, 401);
    }
    world
        .refresh(&client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        prompts_sent(&world).await[before..],
        [None, Some("consent".to_owned())]
    );
    world.login_of(&client_id, ANA).await;
    assert_eq!(
        prompts_sent(&world).await[before + 2..],
        [None],
        "and never again"
    );
}

async fn prompts_sent(world: &World) -> Vec<Option<String>> {
    let control = world.entra.control();
    let records = control.requests_of(RequestKind::Authorize).await.unwrap();
    records.into_iter().map(|record| record.prompt).collect()
}

#[tokio::test]
async fn what_entra_wants_is_kept_under_a_key_of_its_own() {
    let world = World::start().await;
    let (_, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(tokens.access)).await.unwrap();
    let claims = Some(r#"{"access_token":{}}"#.to_owned());
    world.sessions.require_sign_in(&session, claims).await.unwrap();
    let kept = world.store.pending.lock().unwrap().clone();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].starts_with("bhp1."), "{}", &kept[0][..5]);
}

#[tokio::test]
async fn what_entra_wants_of_a_user_takes_one_entry_whatever_clients_ask() {
    const MOST: usize = 16;
    let world = World::start().await;
    let claims = |number: usize| format!(r#"{{"access_token":{{"n":{number}}}}}"#);
    let mut clients = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..=MOST {
        let (login, tokens) = world.session(ANA).await;
        sessions.push(world.sessions.open(&Secret::new(tokens.access)).await.unwrap());
        clients.push(login.client_id);
    }
    let before = world.store.report().await.unwrap().usage.unwrap().entries;
    for (number, session) in sessions.iter().enumerate() {
        world
            .sessions
            .require_sign_in(session, Some(claims(number)))
            .await
            .unwrap();
    }
    assert_eq!(
        world.store.report().await.unwrap().usage.unwrap().entries,
        before + 1
    );

    let before = claims_sent(&world).await.len();
    for client_id in &clients {
        world.login_of(client_id, ANA).await;
    }
    let mut expected = vec![None];
    expected.extend((1..=MOST).flat_map(|number| [None, Some(claims(number))]));
    assert_eq!(
        claims_sent(&world).await[before..],
        expected,
        "of all but the oldest"
    );
}

#[tokio::test]
async fn what_is_kept_of_one_user_in_the_place_of_another_is_nothing() {
    let world = World::start().await;
    let (login, anas) = world.session(ANA).await;
    let bens = world.login_of(&login.client_id, BEN).await;
    let session = world.sessions.open(&Secret::new(anas.access)).await.unwrap();
    let claims = Some(r#"{"access_token":{}}"#.to_owned());
    world.sessions.require_sign_in(&session, claims).await.unwrap();
    let kept = world
        .store
        .get(&StoreKey::Pending(place(ANA)))
        .await
        .unwrap()
        .expect("one entry");
    let end = kept.expires_at;
    world
        .store
        .put(&StoreKey::Pending(place(BEN)), 0, kept.value, end)
        .await
        .unwrap();
    let before = claims_sent(&world).await.len();
    world.login_of(&bens.client_id, BEN).await;
    assert_eq!(claims_sent(&world).await[before..], [None]);
}

/// The place of a user in the store.
fn place(person: Person) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [TENANT_ID, person.object_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[tokio::test]
async fn the_sessions_of_one_user_in_the_place_of_another_are_not_ended() {
    const MOST_SESSIONS: usize = 64;
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let mut anas = Vec::new();
    for _ in 0..MOST_SESSIONS {
        let login = world.login_of(&client_id, ANA).await;
        anas.push(world.redeem(&login, &[]).await.tokens());
    }
    let kept = world.store.get(&StoreKey::User(place(ANA))).await.unwrap();
    let kept = kept.expect("a list");
    world
        .store
        .put(&StoreKey::User(place(BEN)), 0, kept.value, kept.expires_at)
        .await
        .unwrap();
    world.login_of(&client_id, BEN).await;
    for tokens in anas {
        assert!(world.sessions.open(&Secret::new(tokens.access)).await.is_ok());
    }
}
