//! `GET /authorize`: refused requests, and the consent page.

use behalf_simulators::entra::{Effect, Fault, RequestKind};
use serde_json::json;

use crate::fixture::{REDIRECT_URI, World};

/// Regression: `gateway sample (unchecked redirect)`.
#[tokio::test]
async fn an_unknown_client_or_redirect_gets_a_page_and_no_redirect() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let overlong = format!("bhi1.c9.{}", "A".repeat(2000));
    let cases = [
        ("client_id", "nobody"),
        ("client_id", ""),
        (
            "client_id",
            "bhi1.c9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
        ("client_id", &*overlong),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://127.0.0.1/other"),
        ("redirect_uri", "http://localhost/callback"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", "http://127.0.0.1:80@evil.example/callback"),
    ];
    for change in cases {
        let answer = world.get(&world.authorize_path(&id, &[change])).await;
        assert_eq!(answer.status, 400, "{change:?}");
        answer.assert_page(400);
        assert!(!answer.body.contains("evil.example"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_repeated_client_id_or_redirect_uri_gets_a_page() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&id, &[]);
    for more in ["client_id=ci", "redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback"] {
        world.get(&format!("{path}&{more}")).await.assert_page(400);
    }
    world
        .get(&format!("{path}&{}", "x=1&".repeat(50)))
        .await
        .assert_page(400);
    world
        .get(&format!("{path}&x={}", "a".repeat(20_000)))
        .await
        .assert_page(414);
    world.get("/authorize").await.assert_page(400);
}

/// Regression: `gateway sample (plain PKCE)`.
#[tokio::test]
async fn every_other_error_goes_to_the_client_with_state_and_iss() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let cases: [(&[(&str, &str)], &str); 16] = [
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "")], "invalid_request"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (
            &[("code_challenge", ""), ("code_challenge_method", "")],
            "invalid_request",
        ),
        (&[("code_challenge", "abc")], "invalid_request"),
        (
            &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM")],
            "invalid_request",
        ),
        (
            &[("resource", "https://other.contoso.example/mcp")],
            "invalid_target",
        ),
        (&[("resource", "mcp")], "invalid_target"),
        (&[("scope", "openid profile")], "invalid_scope"),
        (&[("scope", "mcp:read \"")], "invalid_scope"),
        (&[("prompt", "none")], "interaction_required"),
        (&[("request", "eyJ")], "request_not_supported"),
        (
            &[("request_uri", "https://claude.ai/request")],
            "request_uri_not_supported",
        ),
    ];
    for (changes, error) in cases {
        let answer = world.get(&world.authorize_path(&id, changes)).await;
        assert_eq!(answer.status, 303, "{changes:?} {}", answer.body);
        assert!(
            answer
                .location()
                .as_str()
                .starts_with("http://127.0.0.1/callback?")
        );
        assert_eq!(answer.parameter("error").as_deref(), Some(error), "{changes:?}");
        assert_eq!(answer.parameter("state").as_deref(), Some("a-state"));
        assert_eq!(answer.parameter("iss"), Some(world.issuer_url()));
        assert_eq!(answer.parameter("code"), None);
        assert!(
            answer
                .parameter("error_description")
                .is_some_and(|text| text.is_ascii() && !text.contains('"'))
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn repeated_parameters_and_an_overlong_state_are_errors_for_the_client() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&id, &[]);
    for more in ["code_challenge=x", "scope=mcp:read", "response_type=code"] {
        let answer = world.get(&format!("{path}&{more}")).await;
        assert_eq!(
            answer.parameter("error").as_deref(),
            Some("invalid_request"),
            "{more}"
        );
        assert_eq!(answer.parameter("state").as_deref(), Some("a-state"), "{more}");
    }
    let answer = world.get(&format!("{path}&state=other")).await;
    assert_eq!(
        (answer.parameter("error").as_deref(), answer.parameter("state")),
        (Some("invalid_request"), None)
    );
    let state = "s".repeat(1025);
    let answer = world.get(&world.authorize_path(&id, &[("state", &state)])).await;
    assert_eq!(
        (answer.parameter("error").as_deref(), answer.parameter("state")),
        (Some("invalid_request"), None)
    );
}

/// Regression: `oauth2-proxy#866`, `oauth2-proxy#1071`, cookies that browsers drop because they are too large.
#[tokio::test]
async fn a_request_that_does_not_fit_into_a_cookie_is_refused() {
    let world = World::start().await;
    let uri = format!("http://127.0.0.1/{}", "c".repeat(450));
    let id = world.register(&[&uri]).await;
    for letter in ["s", "\\", "\u{1}"] {
        let state = letter.repeat(1024);
        let answer = world
            .get(&world.authorize_path(&id, &[("redirect_uri", &uri), ("state", &state)]))
            .await;
        match answer.status.as_u16() {
            200 => {
                let answer = world.approve(&answer).await;
                let cookies = answer.cookies();
                let (name, value) = cookies.iter().find(|(name, _)| name.contains("flow")).unwrap();
                assert!(name.len() + value.len() < 4096, "{}", value.len());
            }
            _ => assert_eq!(answer.parameter("error").as_deref(), Some("invalid_request")),
        }
    }
}

#[tokio::test]
async fn every_spelling_of_the_resource_is_accepted() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let port = world.base.port().unwrap();
    let spellings = [
        String::new(),
        format!("http://localhost:{port}/mcp"),
        format!("http://localhost:{port}/mcp/"),
        format!("http://localhost:{port}"),
        format!("HTTP://LOCALHOST:{port}/mcp"),
    ];
    for resource in spellings {
        let answer = world
            .get(&world.authorize_path(&id, &[("resource", &resource)]))
            .await;
        assert_eq!(answer.status, 200, "{resource}");
    }
}

#[tokio::test]
async fn a_loopback_redirect_uri_may_have_another_port() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let answer = world
        .get(&world.authorize_path(&id, &[("redirect_uri", "http://127.0.0.1:51234/callback")]))
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("http://127.0.0.1:51234/callback"));
}

#[tokio::test]
async fn the_consent_page_names_the_client_and_its_redirect_host() {
    let world = World::start().await;
    let body = json!({
        "client_name": "<script>x('y')</script> \u{202e}\"IDE\"",
        "redirect_uris": ["http://127.0.0.1/callback?a=%22&b=1"],
    });
    let id = world.post_json("/register", &body).await.json()["client_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let uri = "http://127.0.0.1:7777/callback?a=%22&b=1";
    let page = world
        .get(&world.authorize_path(&id, &[("redirect_uri", uri)]))
        .await;
    assert_eq!(page.status, 200);
    assert!(
        page.body
            .contains("<bdi>“&#60;script&#62;x(&#39;y&#39;)&#60;/script…”</bdi>"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<script") && !page.body.contains('\u{202e}'));
    assert!(page.body.contains("http://127.0.0.1:7777/callback?a=%22&#38;b=1"));
    assert!(page.body.contains("a program on this computer (127.0.0.1)"));
    assert!(page.body.contains("Did you just start this sign-in yourself?"));
    assert!(page.body.contains("Any program can use this name."));
    assert!(page.body.contains("mcp:read mcp:run"));
    assert!(page.body.contains("offline_access"));
}

#[tokio::test]
async fn the_consent_page_forbids_frames_scripts_caching_and_referrers() {
    let world = World::start().await;
    let id = world.register(&["https://vscode.dev/redirect"]).await;
    let page = world
        .get(&world.authorize_path(&id, &[("redirect_uri", "https://vscode.dev/redirect")]))
        .await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(
        policy.contains("style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    // The simulator serves Entra's pages over plain http.
    let entra = world.entra.authority().origin().ascii_serialization();
    assert!(
        policy.contains(&format!("form-action 'self' https: {entra}")),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn the_consent_page_warns_if_a_local_program_gets_the_code() {
    let world = World::start_with(|config| {
        config.clients.r#static[0]
            .redirect_uris
            .push("https://vscode.dev/redirect?to=ci".to_owned());
    })
    .await;
    let local = [
        "http://127.0.0.1/callback",
        "http://localhost:1/callback",
        "http://[::1]/callback",
        "https://localhost/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://vscode.dev/redirect",
        "https://insiders.vscode.dev/redirect",
    ];
    let elsewhere = [
        "https://claude.ai/api/mcp/auth_callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
    ];
    let registered = local
        .iter()
        .map(|uri| (*uri, true))
        .chain(elsewhere.map(|uri| (uri, false)));
    for (uri, warns) in registered {
        let id = world.register(&[uri]).await;
        let page = world
            .get(&world.authorize_path(&id, &[("redirect_uri", uri)]))
            .await;
        assert_eq!(page.status, 200, "{uri}");
        assert!(page.body.contains("Did you just start"), "{uri}");
        assert_eq!(page.body.contains("program"), warns, "{uri}");
    }
    // A static client gets the same warning.
    let uri = "https://vscode.dev/redirect?to=ci";
    let page = world
        .get(&world.authorize_path("ci", &[("redirect_uri", uri)]))
        .await;
    assert!(
        page.body
            .contains("<dd class=\"place\">a program on this computer (through vscode.dev)</dd>")
    );
    assert!(page.body.contains("Did you just start"));
}

#[tokio::test]
async fn every_authorization_request_shows_the_consent_page() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&id, &[]);
    let forged =
        format!("__Host-MCP_APPROVED_CLIENTS={id}; __Host-behalf-consent={id}; __Host-behalf-csrf=x");
    for cookie in ["", &forged] {
        let answer = world.get_with(&path, &[("cookie", cookie)]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("action=\"/consent\""));
    }
}

#[tokio::test]
async fn no_cookie_that_finishes_a_login_is_set_before_the_approval() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let page = world.get(&world.authorize_path(&id, &[])).await;
    let names: Vec<_> = page.cookies().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["__Host-behalf-csrf"]);
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
async fn the_csrf_cookie_of_a_browser_is_reused_for_other_tabs() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&id, &[]);
    let first = world.get(&path).await.cookies().remove(0);
    let again = world
        .get_with(&path, &[("cookie", &format!("{}={}", first.0, first.1))])
        .await
        .cookies()
        .remove(0);
    assert_eq!(first, again);
    let other = world.get(&path).await.cookies().remove(0);
    assert_ne!(first, other);
}

#[tokio::test]
async fn without_entra_the_client_gets_temporarily_unavailable() {
    let world = World::start().await;
    let id = world.register(&[REDIRECT_URI]).await;
    let fault = Fault::always(
        [RequestKind::Discovery],
        Effect::Status {
            status: 503,
            retry_after_seconds: None,
        },
    );
    world.entra.control().add_fault(&fault).await.unwrap();
    let answer = world.get(&world.authorize_path(&id, &[])).await;
    assert_eq!(
        answer.parameter("error").as_deref(),
        Some("temporarily_unavailable")
    );
    assert_eq!(answer.parameter("state").as_deref(), Some("a-state"));
}

#[tokio::test]
async fn a_static_client_needs_no_registration() {
    let world = World::start().await;
    let uri = "https://ci.contoso.example/cb";
    let answer = world
        .get(&world.authorize_path("ci", &[("redirect_uri", uri)]))
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("Registered by the administrator"));
    world
        .get(&world.authorize_path("ci", &[("redirect_uri", "https://ci.contoso.example/cb2")]))
        .await
        .assert_page(400);
}
