//! A whole sidecar on loopback: start, stop, and the answers of the internal port.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use behalf_auth_sidecar::admin;
use behalf_auth_sidecar::cli::{Cli, Command};
use behalf_auth_sidecar::lifecycle::{Sidecar, StartError};
use behalf_auth_sidecar::router;
use behalf_auth_sidecar::services::ServicesError;
use behalf_contract::{
    Outcome, RedisAuthentication, RedisConfig, RedisTopology, SessionsReport, StatusDocument, StoreConfig,
    StoreKind,
};
use behalf_simulators::people::CLIENT_ID;
use clap::Parser as _;
use sha2::{Digest as _, Sha256};

use crate::fake_server::FakeServer;
use crate::redis_server::{self, RedisServer};
use crate::world::{World, read};

async fn answer(address: SocketAddr, path: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().build().unwrap();
    let response = client.get(format!("http://{address}{path}")).send().await;
    response.unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = answer(address, path).await;
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn status(address: SocketAddr) -> StatusDocument {
    serde_json::from_str(&get(address, "/status").await.1).unwrap()
}

/// Reads the status until it satisfies the condition. The test runner ends a test that waits too long.
pub(crate) async fn until(address: SocketAddr, wished: impl Fn(&StatusDocument) -> bool) -> StatusDocument {
    loop {
        let status = status(address).await;
        if wished(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_start_writes_the_host_key_and_the_status_reports_both_probes() {
    let world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let internal = sidecar.internal();
    assert_eq!(get(internal, "/startupz").await.0, 200);
    let socket = std::fs::metadata(world.file("admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(read(&world.file("host-key")).len(), 43);
    assert_eq!(get(internal, "/livez").await.0, 200);
    assert_eq!(get(internal, "/readyz").await.0, 200);
    assert_eq!(get(sidecar.public(), "/mcp").await.0, 401);
    assert_eq!(
        get(sidecar.public(), "/.well-known/oauth-authorization-server")
            .await
            .0,
        200
    );
    assert_eq!(
        get(sidecar.public(), "/status").await.0,
        404,
        "the status is for inside"
    );

    let seen = until(internal, |status| {
        status.federation.outcome == Outcome::Verified && status.handshake.outcome == Outcome::Verified
    })
    .await;
    assert_eq!(seen.configuration_digest, "sha256:0123");
    assert_eq!(
        (seen.keyring.sealing.as_str(), seen.keyring.opening.len()),
        ("k1", 1)
    );
    let sessions = (seen.sessions.store, seen.sessions.reachable);
    assert_eq!(sessions, (StoreKind::Memory, Some(true)));
    assert_eq!(seen.handshake.server_info.unwrap().name, "fake");
    assert!(seen.federation.observed_at.is_some());
    let key = read(&world.file("host-key"));
    assert_eq!(
        world.server.received()[0].header("x-behalf-host-key"),
        Some(key.as_str())
    );

    let metrics = answer(internal, "/metrics").await;
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(metrics.headers()["content-type"], open_metrics);
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("behalf_federation_probes_total{outcome=\"Verified\",reason=\"TokenAccepted\"} 1")
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn the_status_reports_the_digest_of_the_revocations_that_are_in_force() {
    let world = World::start().await;
    let digest_of = |text: &str| behalf_contract::digest::format_sha256(&Sha256::digest(text).into());
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let internal = sidecar.internal();
    let first = digest_of(&read(&world.file("revocations.json")));
    assert_eq!(status(internal).await.revocations_digest, Some(first));

    let write = |text: &str| {
        let new = world.file("revocations.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, world.file("revocations.json")).unwrap();
    };
    let text = r#"{"before": "2026-01-01T00:00:00Z", "users": []}"#;
    write(text);
    let wished = Some(digest_of(text));
    until(internal, |status| status.revocations_digest == wished).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn the_internal_port_answers_malformed_requests_with_client_errors() {
    let world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let client = reqwest::Client::builder().build().unwrap();
    for path in router::internal_paths() {
        let url = format!("http://{}{path}", sidecar.internal());
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let request = client
                .request(method.clone(), &url)
                .header("content-type", "application/json")
                .body("{\"a\":");
            let status = request.send().await.unwrap().status();
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
        let odd = client.get(format!("{url}?%00&a=%ff&{}", "b=1&".repeat(1000)));
        let status = odd.body(vec![0xff; 4096]).send().await.unwrap().status();
        assert_eq!(status, StatusCode::OK, "{path} takes no parameters");
        let below = client.get(format!("{url}/..%2fkeyring")).send().await.unwrap();
        assert_eq!(below.status(), StatusCode::NOT_FOUND, "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn readiness_depends_on_the_server_and_not_on_entra() {
    let mut world = World::start().await;
    world
        .control()
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    let address = world.server.address();
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let internal = sidecar.internal();
    until(internal, |status| status.federation.outcome == Outcome::Failed).await;
    assert_eq!(get(internal, "/readyz").await.0, 200, "Entra is not asked");

    let other = FakeServer::start().await;
    std::mem::replace(&mut world.server, other).stop().await;
    assert_eq!(get(internal, "/readyz").await.0, 503);
    assert_eq!(
        get(internal, "/startupz").await.0,
        200,
        "the kubelet starts the server only after this"
    );
    assert_eq!(get(internal, "/livez").await.0, 200);

    let _back = FakeServer::start_at(address).await;
    assert_eq!(get(internal, "/readyz").await.0, 200);
    sidecar.stop().await;
}

#[tokio::test]
async fn the_probe_of_gateways_repeats_the_last_readiness_and_asks_nobody() {
    let mut world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let (public, internal) = (sidecar.public(), sidecar.internal());
    let unavailable = (503, "unavailable\n".to_owned());
    assert_eq!(get(public, "/healthz").await, unavailable, "not probed yet");
    assert_eq!(get(internal, "/readyz").await.0, 200);
    assert_eq!(get(public, "/healthz").await, (200, "ok\n".to_owned()));

    let other = FakeServer::start().await;
    std::mem::replace(&mut world.server, other).stop().await;
    assert_eq!(get(public, "/healthz").await.0, 200, "the server is not asked");
    assert_eq!(get(internal, "/readyz").await.0, 503);
    assert_eq!(get(public, "/healthz").await, unavailable);

    let client = reqwest::Client::builder().build().unwrap();
    let url = format!("http://{public}/healthz");
    let head = client.head(&url).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(head.headers()["cache-control"], "no-store");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = client
            .request(method.clone(), &url)
            .body("{")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "GET,HEAD");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn without_its_store_a_sidecar_starts_and_reports_that_it_is_not_ready() {
    let world = World::start().await;
    let mut loaded = world.loaded();
    // Nothing listens on the port of a listener that is closed.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    loaded.config.sessions.store = StoreConfig::Redis(RedisConfig {
        topology: RedisTopology::Standalone,
        endpoints: vec![format!("redis://127.0.0.1:{port}").parse().unwrap()],
        authentication: RedisAuthentication::None,
        certificate_authority_file: None,
    });
    let sidecar = Sidecar::start(loaded, world.environment()).await.unwrap();
    let internal = sidecar.internal();
    let expected = SessionsReport {
        store: StoreKind::Redis,
        reachable: Some(false),
        eviction_policy: None,
    };
    assert_eq!(status(internal).await.sessions, expected);
    let (code, text) = get(internal, "/readyz").await;
    assert_eq!(
        (code, text.as_str()),
        (503, "the session store does not answer\n")
    );
    assert_eq!(get(internal, "/livez").await.0, 200);
    sidecar.stop().await;
}

#[tokio::test]
async fn while_its_store_is_away_a_sidecar_is_not_ready_and_stays_alive_until_the_store_is_back() {
    let (world, mut redis) = (World::start().await, RedisServer::start(&[]).await);
    let mut loaded = world.loaded();
    let store = redis_server::config(RedisTopology::Standalone, &[redis.endpoint()]);
    loaded.config.sessions.store = StoreConfig::Redis(store);
    let sidecar = Sidecar::start(loaded, world.environment()).await.unwrap();
    let internal = sidecar.internal();
    assert_eq!(get(internal, "/readyz").await.0, 200);
    redis.kill();
    for _ in 0..3 {
        assert_eq!(get(internal, "/readyz").await.0, 503);
        assert_eq!(get(internal, "/livez").await.0, 200);
    }
    // The readiness probe is counted, so the alert also has data without calls.
    let failed = r#"behalf_session_store_seconds_count{operation="ping",outcome="failure"} 3"#;
    let metrics = get(internal, "/metrics").await.1;
    assert!(metrics.contains(failed), "{metrics}");
    redis.restart().await;
    while get(internal, "/readyz").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_server_that_starts_later_is_found_within_a_second() {
    let mut world = World::start().await;
    let loaded = world.loaded();
    let address = world.server.address();
    let other = FakeServer::start().await;
    std::mem::replace(&mut world.server, other).stop().await;
    let sidecar = Sidecar::start(loaded, world.environment()).await.unwrap();
    let internal = sidecar.internal();
    until(internal, |status| status.handshake.reason == "ServerStarting").await;
    let _server = FakeServer::start_at(address).await;
    until(internal, |status| status.handshake.outcome == Outcome::Verified).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn serves_until_the_server_stops_and_then_ends() {
    let mut world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let internal = sidecar.internal();
    let stopping = tokio::spawn(sidecar.stop_after_server());
    for _ in 0..20 {
        assert_eq!(get(internal, "/readyz").await.0, 200);
    }
    assert!(!stopping.is_finished());
    let other = FakeServer::start().await;
    std::mem::replace(&mut world.server, other).stop().await;
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(internal).await.is_err());
}

/// Gateways keep connections to a Pod that stops. Its server would be gone before they learn of it.
#[tokio::test]
async fn the_hook_before_a_stop_asks_clients_to_leave_and_the_sidecar_goes_on_serving() {
    let world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let (public, internal) = (sidecar.public(), sidecar.internal());
    let closes = async || {
        let client = reqwest::Client::builder().build().unwrap();
        let answer = client
            .get(format!("http://{public}/.well-known/oauth-authorization-server"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close")
    };
    assert!(!closes().await);
    assert_eq!(get(internal, "/readyz").await.0, 200);
    assert_eq!(get(public, "/healthz").await.0, 200);
    let socket = world.file("admin.sock");
    let command = [
        "behalf-auth-sidecar",
        "admin",
        "--socket",
        socket.to_str().unwrap(),
        "drain",
    ];
    let Some(Command::Admin(arguments)) = Cli::try_parse_from(command).unwrap().command else {
        panic!("no command")
    };
    admin::run(&arguments, std::io::empty(), &mut Vec::new())
        .await
        .unwrap();
    assert!(closes().await);
    assert_eq!(get(internal, "/readyz").await.0, 200);
    assert_eq!(
        get(public, "/healthz").await.0,
        503,
        "gateways that probe the Pod leave it, too"
    );
    sidecar.stop().await;
}

#[tokio::test]
async fn ends_at_once_if_the_server_has_stopped() {
    let mut world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let other = FakeServer::start().await;
    std::mem::replace(&mut world.server, other).stop().await;
    sidecar.stop_after_server().await;
}

#[tokio::test]
async fn a_failed_start_names_the_missing_file_or_setting() {
    let world = World::start().await;

    let mut environment = world.environment();
    environment.federated_token_file = None;
    let error = Sidecar::start(world.loaded(), environment).await.unwrap_err();
    assert!(
        error.to_string().contains("AZURE_FEDERATED_TOKEN_FILE"),
        "{error}"
    );

    let mut loaded = world.loaded();
    loaded.config.host_key_file = "/nonexistent/host-key".into();
    let error = Sidecar::start(loaded, world.environment()).await.unwrap_err();
    assert!(matches!(error, StartError::HostKey(_)), "{error}");

    let mut loaded = world.loaded();
    loaded.config.listen.public = world.server.address();
    let error = Sidecar::start(loaded, world.environment()).await.unwrap_err();
    assert!(error.to_string().contains("listen.public"), "{error}");

    std::fs::write(world.file("revocations.json"), "{}").unwrap();
    let error = Sidecar::start(world.loaded(), world.environment())
        .await
        .unwrap_err();
    assert!(
        matches!(error, StartError::Services(ServicesError::Revocations(_))),
        "{error}"
    );
    std::fs::write(world.file("revocations.json"), r#"{"users":[]}"#).unwrap();

    std::fs::remove_file(world.file("keyring.json")).unwrap();
    let error = Sidecar::start(world.loaded(), world.environment())
        .await
        .unwrap_err();
    assert!(
        matches!(error, StartError::Services(ServicesError::Keyring(_))),
        "{error}"
    );
}
