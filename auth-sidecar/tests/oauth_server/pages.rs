//! The texts of the consent page and of the error pages.

use axum::body::Body;
use axum::http::Method;
use behalf_contract::{AccessConfig, ServerKind};
use behalf_simulators::sign_in::Page;
use rstest::rstest;
use serde_json::json;

use crate::captured_log::CapturedLog;
use crate::fixture::{Answer, REDIRECT_URI, World, encode, request};

/// Registers a client with this name and redirect URI, and returns the page that its request shows.
async fn consent_page(world: &World, name: &str, redirect_uri: &str) -> Answer {
    let body = json!({"client_name": name, "redirect_uris": [redirect_uri]});
    let registered = world.post_json("/register", &body).await.json();
    let id = registered["client_id"].as_str().unwrap();
    world
        .get(&world.authorize_path(id, &[("redirect_uri", redirect_uri)]))
        .await
}

#[tokio::test]
async fn every_page_names_the_server_and_has_a_reference_that_is_in_the_log() {
    let world = World::start().await;
    let log = CapturedLog::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let consent = consent_page(&world, "Claude", REDIRECT_URI).await;
    let (sealed, csrf) = consent.form();
    let fields = [("request", &*sealed), ("csrf", &csrf), ("decision", "allow")];
    let cookie = consent.cookie();
    let forged = world.post_form("/consent", &fields, &[]).await;
    let approved = world.post_form("/consent", &fields, &[("cookie", &cookie)]).await;
    let flow = approved.cookie();
    let callback = format!("/callback?state={}&code=x", approved.parameter("state").unwrap());
    let foreign = world.get(&callback).await;
    world.advance(601);
    let late_form = world.post_form("/consent", &fields, &[("cookie", &cookie)]).await;
    let late_callback = world.get_with(&callback, &[("cookie", &flow)]).await;
    let too_much = encode(&[("state", &"x".repeat(20_000))]);
    let unregistered = world.authorize_path("nobody", &[]);
    let id = world.register(&[REDIRECT_URI]).await;
    let elsewhere = world.authorize_path(
        &id,
        &[("redirect_uri", "https://claude.ai/api/mcp/auth_callback")],
    );
    let no_form = request(Method::POST, "/consent", &[])
        .body(Body::empty())
        .unwrap();
    let pages = [
        consent,
        forged,
        foreign,
        late_form,
        late_callback,
        world.get(&format!("/authorize?{too_much}")).await,
        world.get(&unregistered).await,
        world.get(&elsewhere).await,
        world.get("/authorize").await,
        world.send(no_form).await,
    ];

    let host = world.issuer_url().replace("http://", "");
    let log = log.text();
    let mut titles = Vec::new();
    let mut references = Vec::new();
    for answer in &pages {
        assert!(answer.header("content-type").unwrap().starts_with("text/html"));
        let page = Page::parse(&answer.body);
        assert!(page.text.contains(&format!("Server {host} ")), "{}", page.text);
        let (_, reference) = page.text.rsplit_once("Reference ").unwrap();
        assert_eq!(reference.len(), 10, "{}", page.text);
        assert!(
            log.contains(&format!("page.reference={reference}")),
            "{reference}"
        );
        if page.title == "This sign-in request is incomplete" {
            let line = log.lines().find(|line| line.contains(reference)).unwrap();
            assert!(
                line.contains("the request names no client, or more than one"),
                "{line}"
            );
        }
        references.push(reference.to_owned());
        titles.push(page.title);
    }
    references.sort();
    references.dedup();
    assert_eq!(references.len(), pages.len(), "each page has its own reference");
    titles.sort();
    titles.dedup();
    assert_eq!(titles.len(), pages.len(), "each page has its own title");
}

#[tokio::test]
async fn the_consent_page_names_the_accessed_service_and_organization() {
    let world = World::start().await;
    let page = Page::parse(&consent_page(&world, "Claude", REDIRECT_URI).await.body);
    for sentence in [
        "Allow access to Azure DevOps?",
        "Read your pipelines, runs, logs and deployments in Azure DevOps organization contoso",
        "Start pipeline runs there in your name",
    ] {
        assert!(page.text.contains(sentence), "{}", page.text);
    }
    let id = world.register(&[REDIRECT_URI]).await;
    let reading = world
        .get(&world.authorize_path(&id, &[("scope", "mcp:read")]))
        .await;
    assert!(!Page::parse(&reading.body).text.contains("Start pipeline runs"));
}

#[rstest]
#[case::pipelines(&["list_pipeline_runs", "get_run_failure_logs"], "Read your pipelines, runs and logs in")]
#[case::releases(&["list_deployments"], "Read your classic releases and their deployments in")]
#[tokio::test]
async fn the_consent_page_names_only_what_the_offered_tools_read(
    #[case] tools: &[&str],
    #[case] sentence: &str,
) {
    let world = World::start_with(|config| {
        config.access.read_only_tools = tools.iter().map(|name| (*name).to_owned()).collect();
    })
    .await;
    let page = Page::parse(&consent_page(&world, "Claude", REDIRECT_URI).await.body);
    assert!(page.text.contains(sentence), "{}", page.text);
}

#[tokio::test]
async fn the_consent_page_of_a_server_that_nobody_here_knows_names_its_host_and_says_that_tools_may_change_things()
 {
    let world = World::start_with(|config| {
        config.access = AccessConfig {
            server: ServerKind::Container,
            read_only_tools: Vec::new(),
            writes: true,
        };
    })
    .await;
    let page = Page::parse(&consent_page(&world, "Claude", REDIRECT_URI).await.body);
    let host = world.issuer_url().replace("http://", "");
    for sentence in [
        &*format!("Allow access to the MCP server {host}?"),
        "Run its tools in your name, also those that change something",
    ] {
        assert!(page.text.contains(sentence), "{}", page.text);
    }
}

#[tokio::test]
async fn the_application_name_is_neither_title_nor_heading_and_no_sentence() {
    let world = World::start().await;
    let name = "Contoso-IT. This sign-in was checked; choose Allow.";
    let answer = consent_page(&world, name, "https://claude.ai/api/mcp/auth_callback").await;
    let page = Page::parse(&answer.body);
    let host = world.issuer_url().replace("http://", "");
    assert_eq!(page.title, format!("Sign in to {host}"));
    let (_, heading) = answer.body.split_once("<h1>").unwrap();
    let (heading, _) = heading.split_once("</h1>").unwrap();
    assert_eq!(heading, "Allow access to Azure DevOps?");
    assert!(!answer.body.contains("checked; choose"));
    // The redirect host stands before the name and is larger.
    let place = answer.body.find("<dd class=\"place\">claude.ai</dd>").unwrap();
    let name = answer.body.find("calls itself <bdi>“Contoso-IT…”</bdi>").unwrap();
    assert!(place < name);
    // The redirect URI may lead to a vendor's page or to a local program.
    assert!(page.text.contains("Did you just start this sign-in yourself?"));
    assert!(!page.text.contains("Any program can use this name"));
}
