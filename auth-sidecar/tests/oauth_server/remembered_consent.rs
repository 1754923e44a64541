//! `consent: Remember`: when the consent page is skipped, and when it is shown all the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_contract::Consent;
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::{ANA, BEN, Person};
use behalf_simulators::sign_in::{Answer as Press, Browser, SignInError, SignedIn, Visit};
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::document_host::DocumentHost;
use crate::fixture::{REDIRECT_URI, VERIFIER, World};

/// The static client of the configuration, and its redirect URI.
const CI: &str = "ci";
const CI_REDIRECT_URI: &str = "https://ci.contoso.example/cb";

const COOKIE: &str = "__Host-MCP_APPROVED_CLIENTS";

async fn world() -> World {
    World::start_with(|config| config.clients.consent = Consent::Remember).await
}

fn visit(world: &World, client_id: &str, person: Person, changes: &[(&str, &str)]) -> Visit {
    let changes = [&[("redirect_uri", CI_REDIRECT_URI)], changes].concat();
    let url = world
        .base
        .join(&world.authorize_path(client_id, &changes))
        .unwrap();
    Visit::new(url, person.user_name)
}

/// Signs in without an answer on a consent page.
async fn without_page(browser: &Browser, visit: Visit) -> Result<SignedIn, SignInError> {
    browser.sign_in(&visit.consent(Press::Skip)).await
}

#[track_caller]
fn assert_asked(outcome: &Result<SignedIn, SignInError>) {
    assert!(
        matches!(outcome, Err(SignInError::StoppedAtConsent { .. })),
        "{outcome:?}"
    );
}

/// A browser in which Ana approved the static client.
async fn approved(world: &World) -> Browser {
    let browser = Browser::new().unwrap();
    let signed_in = browser.sign_in(&visit(world, CI, ANA, &[])).await.unwrap();
    assert!(signed_in.code.is_some());
    browser
}

#[tokio::test]
async fn a_returning_user_is_not_asked_again_and_gets_a_session() {
    let world = world().await;
    let browser = approved(&world).await;
    for _ in 0..2 {
        let signed_in = without_page(&browser, visit(&world, CI, ANA, &[])).await.unwrap();
        let code = signed_in.code.unwrap();
        let redemption = [
            ("grant_type", "authorization_code"),
            ("client_id", CI),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ];
        world.post_form("/token", &redemption, &[]).await.tokens();
    }
    let fewer = [("scope", "mcp:read")];
    let signed_in = without_page(&browser, visit(&world, CI, ANA, &fewer)).await;
    assert!(signed_in.unwrap().code.is_some());
}

#[tokio::test]
async fn by_default_each_login_asks() {
    let world = World::start().await;
    let browser = approved(&world).await;
    assert_asked(&without_page(&browser, visit(&world, CI, ANA, &[])).await);
}

#[tokio::test]
async fn another_user_of_the_same_browser_is_asked_after_the_sign_in() {
    let world = world().await;
    let browser = approved(&world).await;
    let outcome = without_page(&browser, visit(&world, CI, BEN, &[])).await;
    assert_asked(&outcome);
    let signed_in = browser.sign_in(&visit(&world, CI, BEN, &[])).await.unwrap();
    assert!(signed_in.code.is_some());
    for person in [ANA, BEN] {
        let signed_in = without_page(&browser, visit(&world, CI, person, &[]))
            .await
            .unwrap();
        assert!(signed_in.code.is_some());
    }
}

/// Regression: `GHSA-6x8h-498w-gv8c`, an approval that counted for other scopes and redirect URIs, too.
#[tokio::test]
async fn more_scopes_are_asked_for() {
    let world = world().await;
    let browser = Browser::new().unwrap();
    let only_read = visit(&world, CI, ANA, &[]).untick("run");
    browser.sign_in(&only_read).await.unwrap();
    let read = [("scope", "mcp:read")];
    without_page(&browser, visit(&world, CI, ANA, &read))
        .await
        .unwrap();
    assert_asked(&without_page(&browser, visit(&world, CI, ANA, &[])).await);
}

#[tokio::test]
async fn an_approval_is_forgotten_after_thirty_days_although_it_is_used() {
    let world = world().await;
    let browser = approved(&world).await;
    world.advance(30 * 24 * 3600 - 60);
    without_page(&browser, visit(&world, CI, ANA, &[])).await.unwrap();
    world.advance(120);
    assert_asked(&without_page(&browser, visit(&world, CI, ANA, &[])).await);
}

#[tokio::test]
async fn an_approval_before_a_revocation_of_its_user_does_not_count() {
    let world = world().await;
    let browser = approved(&world).await;
    world.advance(10);
    let signed_in = browser.sign_in(&visit(&world, CI, BEN, &[])).await.unwrap();
    let code = signed_in.code.unwrap();
    let redemption = [
        ("grant_type", "authorization_code"),
        ("client_id", CI),
        ("code", &code),
        ("code_verifier", VERIFIER),
    ];
    let bens = world.post_form("/token", &redemption, &[]).await.tokens();
    let bens = world.sessions.open(&Secret::new(&*bens.access)).await.unwrap();

    // Ana's approval is older than the revocation of Ana. Ben's is older than the one of Ben, whose stream shows that the
    // file is in force.
    let now = world.clock.now();
    let [ana, ben] = [-5, 1].map(|seconds| (now + SignedDuration::from_secs(seconds)).to_string());
    world.write_revocations(&json!({"users": [
        {"id": ANA.object_id, "before": ana},
        {"id": BEN.object_id, "before": ben},
    ]}));
    bens.ended().await;
    world.advance(60);
    for person in [ANA, BEN] {
        assert_asked(&without_page(&browser, visit(&world, CI, person, &[])).await);
        let again = visit(&world, CI, person, &[]);
        assert!(browser.sign_in(&again).await.unwrap().code.is_some());
        without_page(&browser, again).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_prompts_gets_the_page() {
    let world = world().await;
    let browser = approved(&world).await;
    for prompt in ["consent", "login", "select_account"] {
        let changes = [("prompt", prompt)];
        assert_asked(&without_page(&browser, visit(&world, CI, ANA, &changes)).await);
    }
}

/// Regression: `GHSA-6x8h-498w-gv8c`; `gateway sample (unsigned approval cookie)`, which approved every client.
#[tokio::test]
async fn a_client_with_a_document_is_remembered_by_its_address_and_redirect_uri() {
    let host = DocumentHost::start().await;
    let world = host
        .world_with(|config| config.clients.consent = Consent::Remember)
        .await;
    let (one, other) = (
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.com/api/mcp/auth_callback",
    );
    for id in ["https://claude.ai/oauth/c", "https://evil.example/c"] {
        host.publish_client(id, &[one, other]);
    }
    let browser = Browser::new().unwrap();
    let with = |id: &str, uri: &str| visit(&world, id, ANA, &[("redirect_uri", uri)]);
    browser
        .sign_in(&with("https://claude.ai/oauth/c", one))
        .await
        .unwrap();
    without_page(&browser, with("https://claude.ai/oauth/c", one))
        .await
        .unwrap();
    assert_asked(&without_page(&browser, with("https://claude.ai/oauth/c", other)).await);
    assert_asked(&without_page(&browser, with("https://evil.example/c", one)).await);
}

#[tokio::test]
async fn programs_on_the_computer_and_registered_clients_are_never_remembered() {
    let host = DocumentHost::start().await;
    let world = host
        .world_with(|config| config.clients.consent = Consent::Remember)
        .await;
    let document = "https://vscode.dev/oauth/client-metadata.json";
    let relay = "https://vscode.dev/redirect";
    host.publish_client(document, &[relay, REDIRECT_URI]);
    let claude = "https://claude.ai/api/mcp/auth_callback";
    let registered = world.register(&[claude]).await;
    for (id, uri) in [(document, relay), (document, REDIRECT_URI), (&registered, claude)] {
        let browser = Browser::new().unwrap();
        let login = || visit(&world, id, ANA, &[("redirect_uri", uri)]);
        browser.sign_in(&login()).await.unwrap();
        assert_asked(&without_page(&browser, login()).await);
    }
}

/// Opens the login of the static client with this cookie.
async fn open_with(world: &World, cookie: &str) -> Answer {
    let path = world.authorize_path(CI, &[("redirect_uri", CI_REDIRECT_URI)]);
    let cookie = format!("{COOKIE}={cookie}");
    world.get_with(&path, &[("cookie", &cookie)]).await
}

/// The content of the cookie after an approval, which only the seal protects.
fn unsealed_approval() -> String {
    let hash = |text: &str| {
        let length = (text.len() as u64).to_be_bytes();
        URL_SAFE_NO_PAD.encode(Sha256::digest([&length[..], text.as_bytes()].concat()))
    };
    let scopes = json!({"r": true, "w": true});
    let approval = json!({"u": "x", "c": hash(CI), "r": hash(CI_REDIRECT_URI), "o": scopes, "e": "2099-01-01T00:00:00Z"});
    json!([approval]).to_string()
}

/// Regression: `gateway sample (unsigned approval cookie)`, valid for a year.
#[rstest]
#[case::unsigned("WyJjaSJd")]
#[case::client_id("ci")]
#[case::empty("")]
#[case::json(&unsealed_approval())]
#[case::base64(&URL_SAFE_NO_PAD.encode(unsealed_approval()))]
#[case::other_key("bho1.k9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
#[tokio::test]
async fn a_forged_approval_cookie_shows_the_page(#[case] cookie: &str) {
    let world = world().await;
    assert_eq!(open_with(&world, cookie).await.status, 200);
}

#[tokio::test]
async fn a_sealed_text_for_another_purpose_is_no_approval() {
    let world = world().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    assert_eq!(open_with(&world, &client_id).await.status, 200);
    let page = open_with(&world, "").await;
    let (request, csrf) = page.form();
    for sealed in [request, csrf] {
        assert_eq!(open_with(&world, &sealed).await.status, 200);
    }
}

#[tokio::test]
async fn a_denial_forgets_the_approval_of_this_client_alone() {
    let host = DocumentHost::start().await;
    let world = host
        .world_with(|config| config.clients.consent = Consent::Remember)
        .await;
    let uri = "https://claude.ai/api/mcp/auth_callback";
    let other = "https://claude.com/api/mcp/auth_callback";
    let denied = "https://claude.ai/oauth/c";
    host.publish_client(denied, &[uri, other]);
    let browser = Browser::new().unwrap();
    for (id, uri) in [(CI, CI_REDIRECT_URI), (denied, uri), (denied, other)] {
        browser
            .sign_in(&visit(&world, id, ANA, &[("redirect_uri", uri)]))
            .await
            .unwrap();
    }
    // Another user of the browser denies the client.
    let prompting = visit(
        &world,
        denied,
        BEN,
        &[("redirect_uri", uri), ("prompt", "consent")],
    );
    let outcome = browser.sign_in(&prompting.consent(Press::Deny)).await.unwrap();
    assert_eq!(outcome.error.as_deref(), Some("access_denied"));
    for uri in [uri, other] {
        assert_asked(&without_page(&browser, visit(&world, denied, ANA, &[("redirect_uri", uri)])).await);
    }
    without_page(&browser, visit(&world, CI, ANA, &[])).await.unwrap();

    let prompting = visit(&world, CI, ANA, &[("prompt", "consent")]);
    browser.sign_in(&prompting.consent(Press::Deny)).await.unwrap();
    assert_asked(&without_page(&browser, visit(&world, CI, ANA, &[])).await);
}

#[tokio::test]
async fn a_remembered_request_that_is_too_long_for_its_cookie_goes_back_to_the_client() {
    let world = world().await;
    let browser = approved(&world).await;
    // JSON writes each of these characters with six.
    let state = "\u{1}".repeat(1024);
    let outcome = without_page(&browser, visit(&world, CI, ANA, &[("state", &state)])).await;
    let signed_in = outcome.unwrap();
    assert_eq!(signed_in.error.as_deref(), Some("invalid_request"));
    assert_eq!(signed_in.state, Some(state));
    without_page(&browser, visit(&world, CI, ANA, &[])).await.unwrap();
}

#[tokio::test]
async fn a_browser_remembers_twelve_approvals_and_forgets_the_oldest() {
    let host = DocumentHost::start().await;
    let world = host
        .world_with(|config| config.clients.consent = Consent::Remember)
        .await;
    let uri = "https://claude.ai/api/mcp/auth_callback";
    let ids: Vec<_> = (0..13)
        .map(|number| format!("https://claude.ai/oauth/{number}"))
        .collect();
    let browser = Browser::new().unwrap();
    for id in &ids {
        host.publish_client(id, &[uri]);
        browser
            .sign_in(&visit(&world, id, ANA, &[("redirect_uri", uri)]))
            .await
            .unwrap();
    }
    for id in &ids[1..] {
        without_page(&browser, visit(&world, id, ANA, &[("redirect_uri", uri)]))
            .await
            .unwrap();
    }
    assert_asked(&without_page(&browser, visit(&world, &ids[0], ANA, &[("redirect_uri", uri)])).await);
}
