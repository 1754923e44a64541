//! `POST /consent`: approval, denial and forged forms.

use behalf_simulators::sign_in::{Answer as Press, Browser, Visit};

use crate::fixture::{Answer, REDIRECT_URI, World, flip, parameter};

/// A consent page and its cookie.
#[derive(Clone)]
struct Offer {
    request: String,
    csrf: String,
    cookie: String,
}

async fn offer(world: &World) -> Offer {
    let id = world.register(&[REDIRECT_URI]).await;
    let page = world.get(&world.authorize_path(&id, &[])).await;
    let (request, csrf) = page.form();
    Offer {
        request,
        csrf,
        cookie: page.cookie(),
    }
}

impl Offer {
    async fn send(&self, world: &World, decision: &str, headers: &[(&str, &str)]) -> Answer {
        let fields = [
            ("request", &*self.request),
            ("csrf", &self.csrf),
            ("decision", decision),
        ];
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .chain([("cookie", &*self.cookie)])
            .collect();
        world.post_form("/consent", &fields, &headers).await
    }
}

#[tokio::test]
async fn the_approval_sends_the_browser_to_entra_with_new_pkce_state_and_nonce() {
    let world = World::start().await;
    let answer = offer(&world).await.send(&world, "allow", &[]).await;
    assert_eq!(answer.status, 303);
    let url = answer.location();
    assert_eq!(url.origin(), world.entra.authority().origin());
    let get = |name| parameter(&url, name).unwrap_or_default();
    assert_eq!(get("redirect_uri"), format!("{}/callback", world.issuer_url()));
    assert_eq!(get("response_mode"), "query");
    assert_eq!(get("code_challenge_method"), "S256");
    assert!(
        get("scope").starts_with("openid profile offline_access "),
        "{}",
        get("scope")
    );
    assert_eq!(parameter(&url, "resource"), None, "AADSTS9010010");
    assert_ne!(get("state"), "a-state");
    assert_ne!(
        get("code_challenge"),
        crate::fixture::challenge(crate::fixture::VERIFIER)
    );
    let cookies = answer.cookies();
    assert_eq!(cookies.len(), 1);
    assert_eq!(cookies[0].0, format!("__Host-behalf-flow-{}", get("state")));
    let attributes = answer.header("set-cookie").unwrap();
    assert!(
        attributes.ends_with("; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"),
        "{attributes}"
    );
}

#[tokio::test]
async fn an_origin_of_null_is_accepted_with_sec_fetch_site() {
    let world = World::start().await;
    let headers = [("origin", "null"), ("sec-fetch-site", "same-origin")];
    assert_eq!(
        offer(&world).await.send(&world, "allow", &headers).await.status,
        303
    );
}

#[tokio::test]
async fn the_denial_goes_to_the_client_and_sets_no_cookie() {
    let world = World::start().await;
    let answer = offer(&world).await.send(&world, "deny", &[]).await;
    assert_eq!(answer.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(answer.parameter("state").as_deref(), Some("a-state"));
    assert_eq!(answer.parameter("iss"), Some(world.issuer_url()));
    assert_eq!(answer.header("set-cookie"), None);
}

#[tokio::test]
async fn a_forged_approval_is_refused() {
    let world = World::start().await;
    let mine = offer(&world).await;
    let other = offer(&world).await;
    let with = |change: &dyn Fn(&mut Offer)| {
        let mut forgery = mine.clone();
        change(&mut forgery);
        forgery
    };
    let forgeries = [
        ("no cookie", with(&|it| it.cookie.clear())),
        (
            "cookie of another browser",
            with(&|it| it.cookie.clone_from(&other.cookie)),
        ),
        (
            "token of another browser",
            with(&|it| it.csrf.clone_from(&other.csrf)),
        ),
        (
            "another request",
            with(&|it| it.request.clone_from(&other.request)),
        ),
        (
            "altered token",
            with(&|it| it.csrf = flip(&it.csrf, it.csrf.len() / 2)),
        ),
        (
            "altered request",
            with(&|it| it.request = flip(&it.request, it.request.len() / 2)),
        ),
        (
            "token in place of request",
            with(&|it| it.request.clone_from(&it.csrf.clone())),
        ),
        ("a cookie's value as token", with(&|it| it.csrf = "x".repeat(43))),
        ("no token", with(&|it| it.csrf.clear())),
        ("no request", with(&|it| it.request.clear())),
    ];
    for (name, forgery) in forgeries {
        let answer = forgery.send(&world, "allow", &[]).await;
        let status = answer.status.as_u16();
        assert!([400, 403].contains(&status), "{name}: {status}");
        answer.assert_page(status);
    }
    let sites: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.localhost"),
        ],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ];
    for headers in sites {
        mine.send(&world, "allow", headers).await.assert_page(403);
    }
    assert_eq!(
        mine.send(&world, "allow", &[]).await.status,
        303,
        "the right form still works"
    );
}

#[tokio::test]
async fn a_form_older_than_ten_minutes_is_refused() {
    let world = World::start().await;
    let offer = offer(&world).await;
    world.advance(601);
    let answer = offer.send(&world, "allow", &[]).await;
    answer.assert_page(400);
    assert!(
        answer.body.contains("This sign-in took longer than ten minutes"),
        "{}",
        answer.body
    );
    // Another browser does not learn that the request has expired.
    let foreign = Offer {
        cookie: String::new(),
        ..offer
    };
    let answer = foreign.send(&world, "allow", &[]).await;
    answer.assert_page(403);
    assert!(
        answer
            .body
            .contains("This answer does not belong to this browser"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn cookies_of_a_sibling_site_do_not_prevent_a_sign_in() {
    let world = World::start().await;
    let mut offer = offer(&world).await;
    let foreign = "sibling=x; ".repeat(200);
    offer.cookie.insert_str(0, &foreign);
    let answer = offer.send(&world, "allow", &[]).await;
    assert_eq!(answer.status, 303);
    let (name, value) = answer.cookies().remove(0);
    let state = answer.parameter("state").unwrap();
    let path = format!("/callback?state={state}&error=access_denied");
    let cookie = format!("{foreign}{name}={value}");
    let answer = world.get_with(&path, &[("cookie", &cookie)]).await;
    assert_eq!(answer.parameter("error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn an_unknown_decision_or_body_gets_a_page() {
    let world = World::start().await;
    let offer = offer(&world).await;
    offer.send(&world, "maybe", &[]).await.assert_page(400);
    world.post_form("/consent", &[], &[]).await.assert_page(400);
    world
        .post_json("/consent", &serde_json::json!({}))
        .await
        .assert_page(400);
    let long = "x".repeat(64 * 1024);
    world
        .post_form("/consent", &[("request", &long)], &[])
        .await
        .assert_page(400);
}

#[tokio::test]
async fn a_browser_has_at_most_four_sign_ins_in_progress() {
    let world = World::start().await;
    let offer = offer(&world).await;
    let mut jar: Vec<(String, String)> = Vec::new();
    for round in 0..6 {
        world.advance(1);
        let cookie: Vec<_> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let headers = [("cookie", &*cookie.join("; "))];
        let answer = offer.send(&world, "allow", &headers).await;
        assert_eq!(answer.status, 303);
        for (name, value) in answer.cookies() {
            jar.retain(|(other, _)| *other != name);
            if !value.is_empty() {
                jar.push((name, value));
            }
        }
        assert_eq!(jar.len(), 4.min(round + 1), "{round}");
        let state = answer.parameter("state").unwrap();
        assert!(jar.last().unwrap().0.ends_with(&state), "the newest is kept");
    }
}

#[tokio::test]
async fn the_content_security_policy_allows_the_redirects_to_the_client() {
    let world = World::start().await;
    world.entra_remembers_sign_ins().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let url = world.base.join(&world.authorize_path(&client_id, &[])).unwrap();
    let browser = Browser::new().unwrap();
    // At the second login Entra shows no page, so the form's redirects lead directly to the client.
    for _ in 0..2 {
        let signed_in = browser.sign_in(&Visit::new(url.clone(), "ana")).await.unwrap();
        assert!(signed_in.code.is_some(), "{signed_in:?}");
    }
    let denied = browser
        .sign_in(&Visit::new(url, "ana").consent(Press::Deny))
        .await
        .unwrap();
    assert_eq!(denied.error.as_deref(), Some("access_denied"));
}
