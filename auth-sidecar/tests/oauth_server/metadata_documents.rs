//! Clients whose id is the address of a metadata document, and the guard against forged addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Response};
use behalf_auth_sidecar::clients::PublicAddresses;
use behalf_contract::{MetadataDocumentsPolicy, SidecarConfig, TracingConfig};
use behalf_entra::Secret;
use behalf_simulators::people::{ANA, BEN};
use serde_json::json;

use crate::answer::Answer;
use crate::document_host::{DocumentHost, Everywhere, json_body, status};
use crate::fixture::{REDIRECT_URI, World, request};

const CLIENT: &str = "https://client.example/oauth/client.json";

async fn host() -> DocumentHost {
    let host = DocumentHost::start().await;
    host.publish_client(CLIENT, &[REDIRECT_URI]);
    host
}

/// Begins a login of the client at this address.
async fn begin(world: &World, client_id: &str) -> Answer {
    world.get(&world.authorize_path(client_id, &[])).await
}

/// Asserts that the login ended on the page for documents that cannot be used.
#[track_caller]
fn assert_unusable(answer: &Answer) {
    answer.assert_page(400);
    assert!(
        answer
            .body
            .contains("description of the application cannot be read"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_client_signs_in_with_the_address_of_its_document_as_its_id() {
    let host = host().await;
    let world = host.world().await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let login = world.login_of(CLIENT, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    world.refresh(CLIENT, &tokens.refresh, &[]).await.tokens();
    let form = [("token", tokens.refresh.as_str()), ("client_id", CLIENT)];
    assert_eq!(world.post_form("/revoke", &form, &[]).await.status, 200);
}

#[tokio::test]
async fn each_fetch_of_a_document_counts_by_outcome_and_a_bucket_names_the_trace_of_its_login() {
    let host = host().await;
    let world = host
        .world_with(|config| {
            config.tracing = Some(TracingConfig {
                endpoint: "http://127.0.0.1:1".parse().unwrap(),
                object: config.object.clone(),
            });
        })
        .await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let context = format!("00-{trace}-00f067aa0ba902b7-01");
    let missing = "https://client.example/missing";
    for client_id in [CLIENT, CLIENT, missing] {
        let path = world.authorize_path(client_id, &[]);
        world.get_with(&path, &[("traceparent", &context)]).await;
    }
    let page = world.metrics.encode();
    for outcome in ["success", "failure"] {
        let line = format!("behalf_metadata_document_seconds_count{{outcome=\"{outcome}\"}} 1");
        assert!(
            page.contains(&line),
            "the second login has the cached document: {page}"
        );
    }
    let mut buckets = page
        .lines()
        .filter(|line| line.starts_with("behalf_metadata_document_seconds_bucket"));
    let exemplar = format!("# {{trace_id=\"{trace}\"}}");
    assert!(buckets.any(|line| line.contains(&exemplar)), "{page}");
}

#[tokio::test]
async fn a_session_needs_the_document_no_more_after_the_login() {
    let host = host().await;
    let world = host.world().await;
    let page = begin(&world, CLIENT).await;
    assert_eq!(host.requests(), 1);
    host.put(CLIENT, || status(500));
    world.advance(120);
    // The consent form, the code and the refresh token are bound to the client and its redirect URI.
    assert_eq!(world.approve(&page).await.status, 303);
    host.publish_client(CLIENT, &[REDIRECT_URI]);
    let login = world.login_of(CLIENT, ANA).await;
    let requests = host.requests();
    host.put(CLIENT, || status(500));
    let tokens = world.redeem(&login, &[]).await.tokens();
    world.advance(2 * 24 * 3600);
    world.refresh(CLIENT, &tokens.refresh, &[]).await.tokens();
    assert_eq!(host.requests(), requests);
}

#[tokio::test]
async fn the_consent_page_names_the_host_of_the_document() {
    let host = host().await;
    host.publish(
        &json!({"client_id": "https://evil.example/c", "client_name": "Visual Studio Code",
        "redirect_uris": [REDIRECT_URI]}),
    );
    let world = host.world().await;
    let page = begin(&world, "https://evil.example/c").await;
    assert_eq!(page.status, 200);
    for text in [
        "evil.example describes the application; trust the name only if you trust evil.example",
        "<code>https://evil.example/c</code>",
    ] {
        assert!(page.body.contains(text), "{text} in {}", page.body);
    }
}

/// Regression: `workers-oauth-provider#299`, where a login ended the sessions of all others with the same client.
#[tokio::test]
async fn a_new_login_through_a_shared_id_ends_no_session_of_another_user_or_device() {
    let host = host().await;
    let world = host.world().await;
    let mut sessions = Vec::new();
    for person in [ANA, BEN, ANA, BEN] {
        let login = world.login_of(CLIENT, person).await;
        sessions.push((person, world.redeem(&login, &[]).await.tokens()));
    }
    for (person, tokens) in sessions {
        let open = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
        assert_eq!(open.user.oid, person.object_id);
        world.refresh(CLIENT, &tokens.refresh, &[]).await.tokens();
    }
}

#[tokio::test]
async fn a_document_is_fetched_once_until_it_is_stale() {
    let host = host().await;
    let world = host.world().await;
    let logins = (0..20).map(|_| begin(&world, CLIENT));
    for page in futures::future::join_all(logins).await {
        assert_eq!(page.status, 200);
    }
    assert_eq!(host.requests(), 1);
    world.advance(59);
    begin(&world, CLIENT).await;
    assert_eq!(host.requests(), 1);
    host.publish_client(CLIENT, &["http://127.0.0.1/other"]);
    world.advance(1);
    let page = begin(&world, CLIENT).await;
    assert!(
        page.body.contains("did not register this address"),
        "{}",
        page.body
    );
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn the_cache_headers_of_a_document_are_honoured() {
    let host = host().await;
    let text = json!({"client_id": CLIENT, "client_name": "A", "redirect_uris": [REDIRECT_URI]}).to_string();
    host.put(CLIENT, move || {
        let mut response = json_body(&text);
        let value = "public, max-age=3600".parse().unwrap();
        response.headers_mut().insert("cache-control", value);
        response
    });
    let world = host.world().await;
    begin(&world, CLIENT).await;
    world.advance(3599);
    begin(&world, CLIENT).await;
    assert_eq!(host.requests(), 1);
    world.advance(1);
    begin(&world, CLIENT).await;
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn a_failure_is_not_cached() {
    let host = DocumentHost::start().await;
    let world = host.world().await;
    assert_unusable(&begin(&world, CLIENT).await);
    host.publish_client(CLIENT, &[REDIRECT_URI]);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let host = DocumentHost::start().await;
    let target = "https://client.example/real.json";
    host.publish(&json!({"client_id": CLIENT, "client_name": "A", "redirect_uris": [REDIRECT_URI]}));
    let text = json!({"client_id": CLIENT, "redirect_uris": [REDIRECT_URI]}).to_string();
    host.put(target, move || json_body(&text));
    for code in [301, 302, 303, 307, 308] {
        host.put(CLIENT, move || {
            let mut response = status(code);
            response.headers_mut().insert("location", target.parse().unwrap());
            response
        });
        let world = host.world().await;
        let before = host.requests();
        assert_unusable(&begin(&world, CLIENT).await);
        assert_eq!(host.requests(), before + 1, "{code}");
    }
}

#[tokio::test]
async fn a_host_with_an_address_that_is_not_public_gets_no_request() {
    let host = host().await;
    let guard = PublicAddresses::of(Arc::new(host.resolver()));
    let world = host.world_resolving(Arc::new(guard), |_| {}).await;
    assert_unusable(&begin(&world, CLIENT).await);
    assert_eq!(host.requests(), 0);
}

#[tokio::test]
async fn an_address_without_the_name_of_a_host_gets_no_request() {
    let host = host().await;
    let world = host.world().await;
    for id in [
        "https://127.0.0.1/c",
        "https://[::1]/c",
        "https://2130706433/c",
        "https://client.example:8443/oauth/client.json",
        "https://client.example@evil.example/c",
        "https://client.example/oauth/client.json?x=1",
        "https://client.example/oauth/client.json#x",
        "https://client.example./oauth/client.json",
        "https://client.example/",
        "http://client.example/oauth/client.json",
    ] {
        let answer = begin(&world, id).await;
        answer.assert_page(400);
        assert!(answer.body.contains("not registered with this server"), "{id}");
    }
    assert_eq!(host.requests(), 0);
}

/// Removes the reference, which differs on every page.
fn without_reference(answer: &Answer) -> String {
    let (start, rest) = answer.body.split_once("Reference <code>").unwrap();
    format!("{start}{}", rest.split_once("</code>").unwrap().1)
}

#[tokio::test]
async fn every_failure_shows_the_same_page() {
    let host = host().await;
    host.put("https://client.example/500", || status(500));
    host.put("https://client.example/html", || json_body("<html>"));
    let world = host.world().await;
    let mut pages = Vec::new();
    for path in ["404", "500", "html"] {
        pages.push(begin(&world, &format!("https://client.example/{path}")).await);
    }
    // The certificate does not name this host.
    pages.push(begin(&world, "https://unnamed.example/c").await);
    let closed = Everywhere("127.0.0.1:1".parse().unwrap());
    let private = PublicAddresses::of(Arc::new(host.resolver()));
    let resolvers: [Arc<dyn reqwest::dns::Resolve>; 2] = [Arc::new(closed), Arc::new(private)];
    for resolver in resolvers {
        let world = host.world_resolving(resolver, |_| {}).await;
        pages.push(begin(&world, CLIENT).await);
    }
    // The footer names the port of the sidecar.
    let text = |page: &Answer| {
        without_reference(page)
            .split("<footer>")
            .next()
            .unwrap()
            .to_owned()
    };
    for page in &pages {
        assert_unusable(page);
        assert_eq!(text(page), text(&pages[0]));
    }
}

#[tokio::test]
async fn a_document_that_never_ends_is_read_to_its_limit() {
    let host = DocumentHost::start().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    host.put(CLIENT, move || {
        let counter = counter.clone();
        let parts = futures::stream::repeat_with(move || {
            counter.fetch_add(1024, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1024]))
        });
        let mut response = Response::new(Body::from_stream(parts));
        let json = "application/json".parse().unwrap();
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    });
    let world = host.world().await;
    assert_unusable(&begin(&world, CLIENT).await);
    // The connection buffers less than this. A reader without a limit receives more until its time is over.
    assert!(sent.load(Ordering::Relaxed) < 16 * 1024 * 1024);
}

#[tokio::test]
async fn a_document_may_have_five_kilobytes_and_no_more() {
    let host = DocumentHost::start().await;
    let text = json!({"client_id": CLIENT, "redirect_uris": [REDIRECT_URI]}).to_string();
    let world = host.world().await;
    let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
    let (largest, larger) = (padded(5120), padded(5121));
    host.put(CLIENT, move || json_body(&larger));
    assert_unusable(&begin(&world, CLIENT).await);
    host.put(CLIENT, move || json_body(&largest));
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}

#[tokio::test]
async fn a_document_of_another_client_is_refused() {
    let host = host().await;
    let text = json!({"client_id": CLIENT, "redirect_uris": [REDIRECT_URI]}).to_string();
    host.put("https://evil.example/c", move || json_body(&text));
    let world = host.world().await;
    assert_unusable(&begin(&world, "https://evil.example/c").await);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}

#[tokio::test]
async fn redirect_uris_of_a_document_have_the_rules_of_a_registration() {
    let host = DocumentHost::start().await;
    let uris = [
        "https://evil.example/cb",
        "https://claude.ai/share/1",
        "javascript:alert(1)",
        "http://192.0.2.1/cb",
    ];
    host.publish_client(CLIENT, &[&uris[..], &[REDIRECT_URI]].concat());
    let world = host.world().await;
    for uri in uris {
        let answer = world
            .get(&world.authorize_path(CLIENT, &[("redirect_uri", uri)]))
            .await;
        answer.assert_page(400);
        assert!(answer.body.contains("did not register this address"), "{uri}");
    }
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}

#[tokio::test]
async fn only_documents_of_allowed_hosts_are_read() {
    let host = host().await;
    host.publish_client("https://evil.example/c", &[REDIRECT_URI]);
    let world = host
        .world_with(|config| {
            config.clients.metadata_documents.allowed_hosts = vec!["client.example".to_owned()];
        })
        .await;
    let answer = begin(&world, "https://evil.example/c").await;
    answer.assert_page(403);
    assert_eq!(host.requests(), 0);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}

#[tokio::test]
async fn disabled_documents_are_not_advertised_and_their_clients_are_unknown() {
    let host = host().await;
    let world = host
        .world_with(|config| config.clients.metadata_documents.policy = MetadataDocumentsPolicy::Disabled)
        .await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata.get("client_id_metadata_document_supported"), None);
    begin(&world, CLIENT).await.assert_page(400);
    world
        .refresh(CLIENT, "bhr1.k1.x", &[])
        .await
        .assert_error(401, "invalid_client");
    assert_eq!(host.requests(), 0);
}

#[tokio::test]
async fn nobody_can_make_this_server_send_many_requests() {
    let host = host().await;
    let world = host.world().await;
    begin(&world, CLIENT).await;
    for number in 0..99 {
        assert_unusable(&begin(&world, &format!("https://client.example/{number}")).await);
    }
    assert_eq!(world.counted("metadata_documents_limited"), 0);
    let answer = begin(&world, "https://client.example/one-more").await;
    answer.assert_page(429);
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(
        (host.requests(), world.counted("metadata_documents_limited")),
        (100, 1)
    );
    // A cached document costs nothing.
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    world.advance(1);
    assert_unusable(&begin(&world, "https://client.example/one-more").await);
}

/// Uses up the fetches of all addresses together, of which `used` are used already.
async fn use_up_fetches(world: &World, used: usize) {
    for number in used..100 {
        assert_unusable(&begin(world, &format!("https://client.example/unknown-{number}")).await);
    }
    let next = begin(world, "https://client.example/one-more").await;
    next.assert_page(429);
}

#[tokio::test]
async fn a_known_client_signs_in_while_others_use_up_the_fetches() {
    let host = host().await;
    let world = host.world().await;
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    world.advance(60);
    use_up_fetches(&world, 0).await;
    let requests = host.requests();
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    assert_eq!(host.requests(), requests);
}

#[tokio::test]
async fn one_address_leaves_the_fetches_of_others_alone() {
    let host = host().await;
    let proxy = |config: &mut SidecarConfig| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let world = host.world_with(proxy).await;
    for number in 0..30 {
        let id = format!("https://client.example/{number}");
        assert_unusable(&begin_from(&world, "192.0.2.1", &id).await);
    }
    begin_from(&world, "192.0.2.1", CLIENT).await.assert_page(429);
    // Refused fetches charge nobody.
    for _ in 0..200 {
        begin_from(&world, "192.0.2.1", "https://client.example/x")
            .await
            .assert_page(429);
    }
    assert_eq!(begin_from(&world, "192.0.2.2", CLIENT).await.status, 200);
}

#[tokio::test]
async fn a_sender_without_budget_does_not_keep_others_from_a_new_document() {
    let host = host().await;
    let proxy = |config: &mut SidecarConfig| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let world = host.world_with(proxy).await;
    assert_eq!(begin_from(&world, "192.0.2.2", CLIENT).await.status, 200);
    world.advance(60);
    for number in 0..30 {
        let id = format!("https://client.example/{number}");
        assert_unusable(&begin_from(&world, "192.0.2.1", &id).await);
    }
    assert_eq!(begin_from(&world, "192.0.2.1", CLIENT).await.status, 200);
    let requests = host.requests();
    assert_eq!(begin_from(&world, "192.0.2.2", CLIENT).await.status, 200);
    assert_eq!(host.requests(), requests + 1, "the host is asked again");
}

/// Begins a login from this address behind a trusted proxy.
async fn begin_from(world: &World, address: &str, client_id: &str) -> Answer {
    let path = world.authorize_path(client_id, &[]);
    let mut request = request(Method::GET, &path, &[("x-forwarded-for", address)])
        .body(Body::empty())
        .unwrap();
    let proxy: SocketAddr = "10.0.0.1:4711".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(proxy));
    world.send(request).await
}

#[tokio::test]
async fn more_documents_than_the_cache_takes_leave_one_that_is_used_often_and_every_client_signs_in() {
    /// `MAX_DOCUMENTS` of the sidecar.
    const CACHED: usize = 256;
    const MORE: usize = 44;
    let host = host().await;
    let fetches: Arc<AtomicUsize> = Arc::default();
    let publish = |url: &str, fetches: Arc<AtomicUsize>| {
        let text = json!({"client_id": url, "redirect_uris": [REDIRECT_URI]}).to_string();
        host.put(url, move || {
            fetches.fetch_add(1, Ordering::Relaxed);
            let mut response = json_body(&text);
            let value = "max-age=86400".parse().unwrap();
            response.headers_mut().insert("cache-control", value);
            response
        });
    };
    publish(CLIENT, Arc::clone(&fetches));
    let others: Vec<_> = (0..CACHED + MORE)
        .map(|number| format!("https://client.example/{number}"))
        .collect();
    for id in &others {
        publish(id, Arc::default());
    }
    let world = host.world().await;
    // Documents leave some time after others came, so that the first rounds may find more of them.
    let rounds = async {
        loop {
            let before = host.requests();
            for (number, id) in others.iter().enumerate() {
                if number % 25 == 0 {
                    // Leaves room below the limit of fetches.
                    world.advance(60);
                    assert_eq!(begin(&world, CLIENT).await.status, 200);
                }
                assert_eq!(begin(&world, id).await.status, 200, "{id}");
            }
            if before >= others.len() && host.requests() - before >= MORE {
                break;
            }
        }
    };
    let rounds = tokio::time::timeout(Duration::from_mins(1), rounds).await;
    rounds.expect("more documents than the maximum are in memory");
    assert_eq!(
        fetches.load(Ordering::Relaxed),
        1,
        "the document that is used often went"
    );
    let login = world.login_of(&others[0], ANA).await;
    world.redeem(&login, &[]).await.tokens();
}

#[tokio::test]
async fn the_last_good_document_serves_for_a_day_while_its_host_is_away() {
    let host = host().await;
    let world = host.world().await;
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    host.put(CLIENT, || status(503));
    world.advance(60);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    assert_eq!(host.requests(), 2);
    // Logins of the next minute do not wait for the host.
    world.advance(59);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    assert_eq!(host.requests(), 2);
    world.advance(24 * 3600 - 120);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
    assert_eq!(host.requests(), 3);
    world.advance(61);
    assert_unusable(&begin(&world, CLIENT).await);
    host.publish_client(CLIENT, &[REDIRECT_URI]);
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}

#[tokio::test]
async fn a_document_that_its_host_withdrew_or_broke_serves_no_more() {
    let replies: [fn() -> Response<Body>; 5] = [
        || status(404),
        || status(410),
        || status(302),
        || json_body("<html>"),
        || json_body("{}"),
    ];
    for reply in replies {
        let host = host().await;
        let world = host.world().await;
        assert_eq!(begin(&world, CLIENT).await.status, 200);
        host.put(CLIENT, reply);
        world.advance(60);
        assert_unusable(&begin(&world, CLIENT).await);
        host.put(CLIENT, || status(503));
        assert_unusable(&begin(&world, CLIENT).await);
    }
}

#[tokio::test]
async fn a_document_of_another_media_type_is_refused() {
    let host = host().await;
    let world = host.world().await;
    let text = json!({"client_id": CLIENT, "redirect_uris": [REDIRECT_URI]}).to_string();
    for (media_type, expected) in [
        (Some("text/html"), 400),
        (None, 400),
        (Some("application/client-metadata+json; charset=utf-8"), 200),
    ] {
        let text = text.clone();
        host.put(CLIENT, move || {
            let mut response = Response::new(Body::from(text.clone()));
            let headers = response.headers_mut();
            if let Some(value) = media_type {
                headers.insert(CONTENT_TYPE, value.parse().unwrap());
            }
            response
        });
        assert_eq!(begin(&world, CLIENT).await.status, expected, "{media_type:?}");
    }
}

#[tokio::test]
async fn a_bounded_number_of_fetches_runs_at_once() {
    let host = host().await;
    let world = host.world().await;
    let ids: Vec<_> = (0..40)
        .map(|number| format!("https://client.example/silent-{number}"))
        .collect();
    for id in &ids {
        host.put(id, || {
            let mut response = Response::new(Body::from_stream(futures::stream::pending::<
                std::io::Result<Bytes>,
            >()));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, "application/json".parse().unwrap());
            response
        });
    }
    let logins = futures::future::join_all(ids.iter().map(|id| begin(&world, id)));
    let while_they_run = async {
        host.requested(40).await;
        begin(&world, CLIENT).await
    };
    let answer = tokio::select! {
        biased;
        answer = while_they_run => answer,
        _ = logins => panic!("the silent host answered"),
    };
    answer.assert_page(429);
    assert_eq!(host.requests(), 40);
    // The browsers left, and their fetches ended.
    assert_eq!(begin(&world, CLIENT).await.status, 200);
}
