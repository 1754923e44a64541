//! The probes against the Entra simulator and servers of several kinds.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use behalf_auth_sidecar::host_key::HostKey;
use behalf_auth_sidecar::observe::schedule::Pace;
use behalf_auth_sidecar::observe::{HandshakeError, HandshakeProbe, federation, handshake};
use behalf_auth_sidecar::upstream::Upstream;
use behalf_contract::Injection::{Header, None as Nothing};
use behalf_contract::{FederationReport, Outcome};
use behalf_simulators::embedded_json::nested;
use behalf_simulators::entra::{
    Effect, Fault, FederatedCredential, IssuerFixture, Policy, RequestKind, ServiceAccountToken,
};
use behalf_simulators::people::CLIENT_ID;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_server::{FakeServer, Received, json_answer, result, status};
use crate::world::{Login, Sidecar, World};

async fn observe(world: &World) -> FederationReport {
    let (answer, claims) = world.probe(Header).run().await;
    federation::report(&answer, claims, Timestamp::UNIX_EPOCH)
}

fn seen(report: &FederationReport) -> (Outcome, &str) {
    (report.outcome, report.reason.as_str())
}

#[tokio::test]
async fn a_working_federation_is_verified_and_reports_the_claims_of_the_token() {
    let world = World::start().await;
    let report = observe(&world).await;
    assert_eq!(seen(&report), (Outcome::Verified, "TokenAccepted"));
    assert_eq!(report.issuer.as_deref(), Some(world.issuer.issuer()));
    assert_eq!(report.subject.as_deref(), Some(IssuerFixture::SUBJECT));
    assert_eq!(report.audience.as_deref(), Some("api://AzureADTokenExchange"));
    let requests = world
        .control()
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    assert_eq!(
        requests[0].scope.as_deref(),
        Some(behalf_entra::AZURE_DEVOPS_SCOPE)
    );
}

#[rstest]
#[case::subject(|_: &str| ("", "system:serviceaccount:mcp:other", None), "FicSubjectMismatch")]
#[case::case_only(|_: &str| ("", "system:serviceaccount:MCP:azure-devops", None), "FicCaseMismatch")]
#[case::issuer(|_: &str| ("https://other.example", IssuerFixture::SUBJECT, None), "FicIssuerMismatch")]
#[case::audience(|_: &str| ("", IssuerFixture::SUBJECT, Some("api://Other")), "FicAudienceMismatch")]
#[tokio::test]
async fn each_wrong_part_of_the_credential_has_its_reason_and_its_fix_is_found(
    #[case] wrong: fn(&str) -> (&'static str, &'static str, Option<&'static str>),
    #[case] reason: &str,
) {
    let world = World::start().await;
    let (issuer, subject, audience) = wrong(world.issuer.issuer());
    let issuer = if issuer.is_empty() {
        world.issuer.issuer()
    } else {
        issuer
    };
    let mut credential = FederatedCredential::new(issuer, subject);
    if let Some(audience) = audience {
        credential.audience = audience.to_owned();
    }
    world
        .control()
        .put_federated_credentials(CLIENT_ID, &[credential])
        .await
        .unwrap();
    let probe = world.probe(Header);
    let (answer, claims) = probe.run().await;
    let report = federation::report(&answer, claims, Timestamp::UNIX_EPOCH);
    assert_eq!(seen(&report), (Outcome::Failed, reason), "{}", report.message);
    assert_eq!(
        report.subject.as_deref(),
        Some(IssuerFixture::SUBJECT),
        "what to put into the credential"
    );

    world
        .control()
        .put_federated_credentials(CLIENT_ID, &[world.issuer.credential()])
        .await
        .unwrap();
    let (answer, claims) = probe.run().await;
    assert_eq!(
        seen(&federation::report(&answer, claims, Timestamp::UNIX_EPOCH)).0,
        Outcome::Verified
    );
}

#[tokio::test]
async fn a_new_credential_is_probed_until_it_works_steadily() {
    let world = World::start().await;
    let control = world.control();
    control
        .update_settings(|settings| settings.federation_propagation_seconds = 600)
        .await
        .unwrap();
    control.put_federated_credentials(CLIENT_ID, &[]).await.unwrap();
    assert_eq!(seen(&observe(&world).await), (Outcome::Failed, "FicNotFound"));

    let created = [world.issuer.credential()];
    control
        .put_federated_credentials(CLIENT_ID, &created)
        .await
        .unwrap();
    let (answer, claims) = world.probe(Header).run().await;
    let report = federation::report(&answer, claims, Timestamp::UNIX_EPOCH);
    assert_eq!(seen(&report), (Outcome::Failed, "FicNotFound"));
    assert!(report.message.contains("about ten minutes"), "{}", report.message);
    let again = federation::pace(&answer, 0);
    assert!(matches!(again, Pace::Broken { failures: 1, .. }), "{again:?}");
    assert_eq!(seen(&observe(&world).await), (Outcome::Verified, "TokenAccepted"));
}

#[rstest]
#[case::silence(Effect::Reset, "Unreachable")]
#[case::outage(Effect::Status { status: 503, retry_after_seconds: None }, "Unreachable")]
#[case::throttled(Effect::Throttled { retry_after_seconds: Some(30) }, "Throttled")]
#[case::proxy_page(Effect::Html { status: 200 }, "Unreachable")]
#[tokio::test]
async fn no_answer_from_entra_is_unknown(#[case] effect: Effect, #[case] reason: &str) {
    let world = World::start().await;
    world
        .control()
        .add_fault(&Fault::always([], effect))
        .await
        .unwrap();
    let report = observe(&world).await;
    assert_eq!(seen(&report), (Outcome::Unknown, reason), "{}", report.message);
    assert!(report.subject.is_some());
    world.control().clear_faults().await.unwrap();
    assert_eq!(observe(&world).await.outcome, Outcome::Verified);
}

#[tokio::test]
async fn a_policy_against_the_application_is_unknown() {
    let world = World::start().await;
    let block = Policy::blocked().at([RequestKind::ClientCredentials]);
    world.control().put_policies(CLIENT_ID, &[block]).await.unwrap();
    assert_eq!(seen(&observe(&world).await), (Outcome::Unknown, "PolicyBlocked"));
}

#[tokio::test]
async fn each_unusable_token_file_has_its_own_reason() {
    let world = World::start().await;
    let write = |token: &str| world.issuer.write_token(&world.token_file(), token).unwrap();
    let right = ServiceAccountToken::of(IssuerFixture::SUBJECT);

    write(&world.issuer.mint(&right.clone().foreign_key()).unwrap());
    assert_eq!(
        seen(&observe(&world).await),
        (Outcome::Failed, "FederatedTokenSignature")
    );
    write(&world.issuer.mint(&right.clone().expired(600)).unwrap());
    assert_eq!(
        seen(&observe(&world).await),
        (Outcome::Failed, "FederatedTokenExpired")
    );
    write(
        &world
            .issuer
            .mint(&right.issuer(&format!("{}/v2.0", world.entra.authority())))
            .unwrap(),
    );
    assert_eq!(
        seen(&observe(&world).await),
        (Outcome::Failed, "ChainedFederation")
    );
    write("no token");
    let report = observe(&world).await;
    assert_eq!(seen(&report), (Outcome::Failed, "WrongAssertion"));
    assert_eq!(
        (report.issuer, report.subject, report.audience),
        (None, None, None)
    );
    std::fs::remove_file(world.token_file()).unwrap();
    let report = observe(&world).await;
    assert!(
        report.message.contains(world.token_file().to_str().unwrap()),
        "{}",
        report.message
    );
}

/// The simulated application requires assignment, as the documentation advises.
#[tokio::test]
async fn without_a_downstream_api_the_probe_succeeds_although_the_application_requires_assignment() {
    let world = World::start().await;
    let (answer, _) = world.probe(Nothing).run().await;
    answer.unwrap();
    let requests = world
        .control()
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    assert_eq!(
        requests[0].scope.as_deref(),
        Some("00000003-0000-0000-c000-000000000000/.default")
    );
}

fn handshake_with(server: &FakeServer) -> HandshakeProbe {
    HandshakeProbe::new(Upstream::new(&server.endpoint(), &HostKey::from_random(&[42; 32])).unwrap())
}

#[tokio::test]
async fn the_handshake_sends_the_host_key_and_no_user_token() {
    let server = FakeServer::start().await;
    let info = handshake_with(&server).run().await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.version.as_str(), info.tools),
        ("fake", "1.2.3", 1)
    );
    assert_eq!(info.protocol_version, "2025-11-25");
    let received = server.received();
    let methods: Vec<_> = received
        .iter()
        .map(|one| one.json()["method"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "tools/list"]);
    for request in &received {
        assert!(request.header("authorization").is_none());
        assert!(request.header("x-behalf-host-key").is_some());
    }
    assert_eq!(received[0].header("mcp-protocol-version"), None);
    assert_eq!(received[2].header("mcp-protocol-version"), Some("2025-11-25"));
    let report = handshake::report(&Ok(info.clone()), false, Timestamp::UNIX_EPOCH);
    assert_eq!(
        (report.outcome, report.server_info),
        (Outcome::Verified, Some(info))
    );
}

#[tokio::test]
async fn streams_and_pages_are_read_and_the_mcp_session_is_ended() {
    let server = FakeServer::start().await;
    server.answers(|request| {
        if request.method == Method::DELETE {
            return status(StatusCode::NO_CONTENT);
        }
        let message = request.json();
        if message["id"].is_null() {
            return status(StatusCode::ACCEPTED);
        }
        let result = match (
            message["method"].as_str().unwrap(),
            message["params"]["cursor"].as_str(),
        ) {
            ("tools/list", None) => json!({"tools": [{"name": "a"}, {"name": "b"}], "nextCursor": "2"}),
            ("tools/list", Some("2")) => json!({"tools": [{"name": "c"}]}),
            _ => result(&message),
        };
        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        let events = format!(
            "id: 0\nretry: 3000\ndata:\n\n\
             event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}}\n\n\
             event: message\r\ndata: {answer}\r\n\r\n"
        );
        Response::builder()
            .header("content-type", "text/event-stream")
            .header("mcp-session-id", "s1")
            .body(Body::from(events))
            .unwrap()
    });
    let probe = handshake_with(&server);
    assert!(!probe.opened_session());
    let info = probe.run().await.unwrap();
    assert_eq!(info.tools, 3);
    assert!(probe.opened_session());
    let received = server.received();
    assert_eq!(received[0].header("mcp-session-id"), None);
    assert!(
        received[1..]
            .iter()
            .all(|request| request.header("mcp-session-id") == Some("s1"))
    );
    assert_eq!(received.last().unwrap().method, Method::DELETE);
}

#[tokio::test]
async fn a_server_that_knows_only_2026_07_28_gets_server_discover() {
    let server = FakeServer::start().await;
    server.answers(|request| {
        let message = request.json();
        let result = match message["method"].as_str().unwrap() {
            "initialize" => {
                let mut refused = json_answer(&json!({"jsonrpc": "2.0", "id": message["id"],
                    "error": {"code": -32022, "message": "unsupported"}}));
                *refused.status_mut() = StatusCode::BAD_REQUEST;
                return refused;
            }
            "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {},
                "serverInfo": {"name": "modern", "version": "2"}}),
            _ => json!({"tools": [], "resultType": "complete"}),
        };
        assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(request.header("mcp-method"), message["method"].as_str());
        assert_eq!(
            message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        json_answer(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    });
    let info = handshake_with(&server).run().await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.tools, info.protocol_version.as_str()),
        ("modern", 0, "2026-07-28")
    );
}

/// Regression: `mcp-lifecycle-operator#145`, a server that requires a user and was never verified, or asked without end.
#[tokio::test]
async fn a_server_that_requires_a_user_is_unknown() {
    let server = FakeServer::start().await;
    server.answers(|_| status(StatusCode::UNAUTHORIZED));
    let answer = handshake_with(&server).run().await;
    let report = handshake::report(&answer, false, Timestamp::UNIX_EPOCH);
    assert_eq!(
        (report.outcome, report.reason.as_str()),
        (Outcome::Unknown, "AuthRequired")
    );
}

/// A sidecar whose probe found that the server requires a user, and a user.
async fn awaiting_a_user(injection: behalf_contract::Injection) -> (World, Sidecar, Login) {
    let world = World::start().await;
    let sidecar = world.sidecar(behalf_contract::ExchangePlace::Sidecar, injection);
    let login = sidecar.sign_in(&world).await;
    let answer = Err(HandshakeError::AuthRequired { method: "initialize" });
    sidecar
        .probe_results
        .publish_handshake(handshake::report(&answer, false, Timestamp::UNIX_EPOCH));
    (world, sidecar, login)
}

/// Sends a message of the user, and reads the whole answer. Returns the outcome after it.
async fn outcome_after(sidecar: &Sidecar, login: &Login, message: &Value) -> Outcome {
    let answer = sidecar.post(login, message).await;
    // An answer that the server broke off counts as well.
    let _ = answer.into_body().collect().await;
    sidecar.probe_results.handshake().outcome
}

fn stream(text: &'static str) -> Response<Body> {
    let answer = Response::builder().header("content-type", "text/event-stream");
    answer.body(Body::from(text)).unwrap()
}

fn notification() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

fn answered(member: &str) -> Response<Body> {
    json_answer(&json!({"jsonrpc": "2.0", "id": 7, member: {"code": -32603, "message": "no"}}))
}

fn large_result() -> Response<Body> {
    json_answer(&json!({"jsonrpc": "2.0", "id": 7, "result": "x".repeat(70_000)}))
}

#[rstest]
#[case::result(|_: &_| answered("result"), Outcome::Verified)]
#[case::result_in_a_stream(|_: &_| stream("id: 1\ndata:\n\ndata: {\"id\":7,\"result\":{}}\n\n"), Outcome::Verified)]
#[case::error(|_: &_| answered("error"), Outcome::Unknown)]
#[case::error_in_a_stream(|_: &_| stream("data: {\"id\":7,\"error\":{}}\n\n"), Outcome::Unknown)]
#[case::only_a_notification_in_a_stream(|_: &_| stream("data: {\"method\":\"notifications/progress\"}\n\n"), Outcome::Unknown)]
#[case::result_of_another_request(|_: &_| json_answer(&json!({"jsonrpc": "2.0", "id": 8, "result": {}})), Outcome::Unknown)]
#[case::too_large_to_be_read(|_: &_| large_result(), Outcome::Unknown)]
#[case::empty(|_: &_| status(StatusCode::OK), Outcome::Unknown)]
#[case::accepted(|_: &_| status(StatusCode::ACCEPTED), Outcome::Unknown)]
#[case::page(|_: &_| Response::builder().header("content-type", "text/html").body(Body::from("<p>")).unwrap(), Outcome::Unknown)]
#[case::refused(|_: &_| status(StatusCode::UNAUTHORIZED), Outcome::Unknown)]
#[case::failed(|_: &_| status(StatusCode::INTERNAL_SERVER_ERROR), Outcome::Unknown)]
#[tokio::test]
async fn a_server_that_requires_a_user_is_verified_by_a_result_for_a_user_alone(
    #[case] script: fn(&Received) -> Response<Body>,
    #[case] expected: Outcome,
) {
    let (world, sidecar, login) = awaiting_a_user(Header).await;
    world.server.answers(script);
    assert_eq!(
        outcome_after(&sidecar, &login, &crate::world::call()).await,
        expected
    );
}

#[tokio::test]
async fn neither_a_notification_nor_a_request_without_a_users_token_verifies_a_server() {
    let (_world, sidecar, login) = awaiting_a_user(Header).await;
    assert_eq!(
        outcome_after(&sidecar, &login, &notification()).await,
        Outcome::Unknown
    );
    assert_eq!(
        outcome_after(&sidecar, &login, &crate::world::call()).await,
        Outcome::Verified
    );
    let (_world, sidecar, login) = awaiting_a_user(Nothing).await;
    assert_eq!(
        outcome_after(&sidecar, &login, &crate::world::call()).await,
        Outcome::Unknown
    );
}

#[rstest]
#[case::html(|_: &_| Response::builder().header("content-type", "text/html").body(Body::from("<p>")).unwrap(), "NotMcp")]
#[case::not_json(|_: &_| Response::builder().header("content-type", "application/json").body(Body::from("{")).unwrap(), "NotMcp")]
#[case::other_id(|_: &_| json_answer(&json!({"jsonrpc": "2.0", "id": 99, "result": {}})), "NotMcp")]
#[case::empty_stream(|_: &_| Response::builder().header("content-type", "text/event-stream").body(Body::empty()).unwrap(), "NotMcp")]
#[case::no_server_info(|_: &_| json_answer(&json!({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-11-25"}})), "NotMcp")]
#[case::too_large(|_: &_| Response::builder().header("content-type", "application/json").body(Body::from(vec![b' '; 5 << 20])).unwrap(), "NotMcp")]
#[case::not_found(|_: &_| status(StatusCode::NOT_FOUND), "ServerError")]
#[case::broken(|_: &_| status(StatusCode::INTERNAL_SERVER_ERROR), "ServerError")]
#[tokio::test]
async fn an_answer_that_is_not_mcp_has_failed(
    #[case] script: fn(&crate::fake_server::Received) -> Response<Body>,
    #[case] reason: &str,
) {
    let server = FakeServer::start().await;
    server.answers(script);
    let answer = handshake_with(&server).run().await;
    let report = handshake::report(&answer, false, Timestamp::UNIX_EPOCH);
    assert_eq!(
        (report.outcome, report.reason.as_str()),
        (Outcome::Failed, reason),
        "{}",
        report.message
    );
    assert_eq!(report.server_info, None);
}

#[rstest]
#[case::id(r#"{"jsonrpc":"2.0","id":HIDDEN,"result":{}}"#)]
#[case::result(r#"{"jsonrpc":"2.0","id":1,"result":HIDDEN}"#)]
#[case::whole("HIDDEN")]
#[tokio::test]
async fn a_server_answer_with_embedded_json_is_not_mcp_and_does_not_crash_the_sidecar(
    #[case] answer: &'static str,
    #[values("application/json", "text/event-stream")] content_type: &'static str,
) {
    let server = FakeServer::start().await;
    let answer = answer.replace("HIDDEN", &nested(88_000));
    let body = if content_type == "application/json" {
        answer
    } else {
        format!("data: {answer}\n\n")
    };
    server.answers(move |_| {
        Response::builder()
            .header("content-type", content_type)
            .body(Body::from(body.clone()))
            .unwrap()
    });
    let answer = handshake_with(&server).run().await;
    let reserved = "JSON with a key that is reserved";
    assert!(
        matches!(&answer, Err(HandshakeError::Malformed { problem, .. }) if *problem == reserved),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_port_that_refuses_connections_is_unreachable() {
    let server = FakeServer::start().await;
    let probe = handshake_with(&server);
    server.stop().await;
    assert!(matches!(probe.run().await, Err(HandshakeError::Unreachable(_))));
}
