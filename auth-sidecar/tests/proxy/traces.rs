//! Traces: the spans that the collector gets, and what goes on to the server.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use behalf_auth_sidecar::lifecycle;
use behalf_contract::ExchangePlace::Sidecar as InSidecar;
use behalf_contract::Injection::{Argument, Header, None as Nothing};
use behalf_contract::{Injection, ObjectIdentity, RedisTopology, SidecarConfig, TracingConfig};
use behalf_simulators::collector::{Collector, ReceivedSpan};
use behalf_simulators::entra::Policy;
use behalf_simulators::people::{ANA, BEN};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing_subscriber::util::SubscriberInitExt as _;
use url::Url;

use crate::captured_log::CapturedLog;
use crate::fake_server::Received;
use crate::redis_server::{RedisServer, store_at};
use crate::world::{Login, Sidecar, World, call, list, post};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-11111111111111111111111111111111-00f067aa0ba902b7-00";
const OTHER: &str = "00-22222222222222222222222222222222-2222222222222222-01";

fn config(world: &World, injection: Injection, endpoint: Url) -> SidecarConfig {
    let mut config = world.config(InSidecar, injection);
    config.tracing = Some(TracingConfig {
        endpoint,
        object: ObjectIdentity {
            namespace: "mcp".to_owned(),
            name: "azure-devops".to_owned(),
        },
    });
    config
}

/// The surroundings, a collector, and a sidecar that sends its spans there.
async fn traced(injection: Injection) -> (World, Collector, Sidecar) {
    let (world, collector) = (World::start().await, Collector::start().await.unwrap());
    let sidecar = world.sidecar_with(config(&world, injection, collector.endpoint()));
    (world, collector, sidecar)
}

/// Sends a message with these headers, and reads the whole answer.
async fn send(sidecar: &Sidecar, login: &Login, message: &Value, headers: &[(&str, &str)]) -> StatusCode {
    let request = headers.iter().fold(post(login), |request, (name, value)| {
        request.header(*name, *value)
    });
    let response = sidecar
        .send(request.body(Body::from(message.to_string())).unwrap())
        .await;
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

fn named<'spans>(spans: &'spans [ReceivedSpan], name: &str) -> &'spans ReceivedSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "one {name} in {spans:#?}");
    span
}

/// Asserts that a bucket of this histogram names the trace of these tests.
#[track_caller]
fn assert_exemplar(sidecar: &Sidecar, buckets: &str) {
    let page = sidecar.metrics.encode();
    let exemplar = format!("# {{trace_id=\"{TRACE}\"}}");
    let mut lines = page.lines().filter(|line| line.starts_with(buckets));
    assert!(lines.any(|line| line.contains(&exemplar)), "{buckets}: {page}");
}

/// The ends of the export, and all spans until then.
async fn flushed(sidecar: Sidecar, collector: &Collector) -> Vec<ReceivedSpan> {
    drop(sidecar.traces_end);
    sidecar.traces.await.unwrap();
    collector.spans(0).await
}

#[tokio::test]
async fn the_spans_of_a_call_are_in_the_clients_trace_and_the_server_continues_it() {
    let (world, collector, sidecar) = traced(Header).await;
    let login = sidecar.sign_in(&world).await;
    assert_eq!(
        send(&sidecar, &login, &call(), &[("traceparent", CONTEXT)]).await,
        200
    );

    let spans = collector.spans(3).await;
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
    assert!(
        spans
            .iter()
            .all(|span| span.service == "behalf-auth-sidecar" && !span.failed)
    );
    let request = named(&spans, "tools/call");
    assert_eq!(request.parent_span_id, "00f067aa0ba902b7");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/mcp"),
        ("http.response.status_code", "200"),
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "run"),
    ] {
        assert_eq!(
            request.attributes.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    let (server, entra) = (named(&spans, "server"), named(&spans, "entra on_behalf_of"));
    for child in [server, entra] {
        assert_eq!(child.parent_span_id, request.span_id);
        assert!(child.nanoseconds > 0 && child.nanoseconds <= request.nanoseconds);
    }
    let expected = format!("00-{TRACE}-{}-01", server.span_id);
    assert_eq!(world.server.only().header("traceparent"), Some(&*expected));
    assert_exemplar(&sidecar, "behalf_mcp_answer_seconds_bucket{");
}

#[rstest]
#[case::header(&[("traceparent", CONTEXT)], None, TRACE, true)]
#[case::message(&[], Some(CONTEXT), TRACE, false)]
#[case::message_before_header(&[("traceparent", OTHER)], Some(CONTEXT), TRACE, false)]
#[case::unusable_message(&[("traceparent", CONTEXT)], Some("ana@contoso.example"), TRACE, true)]
#[tokio::test]
async fn the_context_in_the_message_counts_more_than_the_header(
    #[case] headers: &[(&str, &str)],
    #[case] meta: Option<&str>,
    #[case] trace: &str,
    #[case] keeps_state: bool,
) {
    let (world, collector, sidecar) = traced(Nothing).await;
    let login = sidecar.sign_in(&world).await;
    let mut message = list();
    if let Some(meta) = meta {
        message["params"] = json!({"_meta": {"traceparent": meta}});
    }
    let headers: Vec<_> = headers
        .iter()
        .copied()
        .chain([("tracestate", "vendor=1")])
        .collect();
    assert_eq!(send(&sidecar, &login, &message, &headers).await, 200);
    let spans = collector.spans(2).await;
    assert!(spans.iter().all(|span| span.trace_id == trace), "{spans:#?}");
    assert_eq!(named(&spans, "tools/list").parent_span_id, "00f067aa0ba902b7");
    let received = world.server.only();
    assert!(
        received
            .header("traceparent")
            .unwrap()
            .starts_with(&format!("00-{trace}-"))
    );
    assert_eq!(received.header("tracestate").is_some(), keeps_state);
    assert_eq!(received.json(), message, "the message itself is unchanged");
}

#[tokio::test]
async fn a_call_without_a_context_begins_a_trace_that_is_recorded() {
    let (world, collector, sidecar) = traced(Nothing).await;
    let login = sidecar.sign_in(&world).await;
    for _ in 0..2 {
        assert_eq!(
            send(&sidecar, &login, &list(), &[("traceparent", "unusable")]).await,
            200
        );
    }
    let spans = collector.spans(4).await;
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id.is_empty())
        .collect();
    assert_eq!(roots.len(), 2, "{spans:#?}");
    assert_ne!(roots[0].trace_id, roots[1].trace_id);
    let received = world.server.received();
    assert!(
        received[0]
            .header("traceparent")
            .unwrap()
            .contains(&roots[0].trace_id)
    );
}

#[tokio::test]
async fn a_call_that_its_client_does_not_record_is_not_recorded_and_its_context_goes_on() {
    let (world, collector, sidecar) = traced(Header).await;
    let login = sidecar.sign_in(&world).await;
    assert_eq!(
        send(&sidecar, &login, &call(), &[("traceparent", UNSAMPLED)]).await,
        200
    );
    let received = world.server.only();
    let context = received.header("traceparent").unwrap();
    assert!(context.starts_with("00-11111111111111111111111111111111-") && context.ends_with("-00"));
    assert!(flushed(sidecar, &collector).await.is_empty());
}

#[tokio::test]
async fn without_a_collector_the_servers_headers_are_those_of_the_client() {
    let world = World::start().await;
    let sidecar = world.sidecar(InSidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let sent = [("traceparent", CONTEXT), ("tracestate", "vendor=1")];
    assert_eq!(send(&sidecar, &login, &list(), &sent).await, 200);
    assert_eq!(send(&sidecar, &login, &list(), &[]).await, 200);
    let received = world.server.received();
    for (name, value) in sent {
        assert_eq!(received[0].header(name), Some(value));
        assert_eq!(received[1].header(name), None);
    }
}

#[tokio::test]
async fn the_renewal_at_entra_is_in_the_trace_of_the_call_that_began_it() {
    let (world, collector, sidecar) = traced(Nothing).await;
    let refresh_token = world.refresh_token().await;
    let life = SignedDuration::from_secs(30);
    let login = sidecar.sign_in_for(&world, life, Some(refresh_token)).await;
    assert_eq!(
        send(&sidecar, &login, &list(), &[("traceparent", CONTEXT)]).await,
        200
    );
    let spans = collector.spans(3).await;
    assert_eq!(named(&spans, "entra refresh_token").trace_id, TRACE);
    assert_eq!(
        named(&spans, "entra refresh_token").parent_span_id,
        named(&spans, "tools/list").span_id
    );
    let counted = r#"behalf_entra_request_seconds_count{grant="refresh_token",outcome="success"}"#;
    assert_eq!(sidecar.count(counted), 1);
    assert_exemplar(&sidecar, "behalf_entra_request_seconds_bucket{");
}

#[tokio::test]
async fn reads_and_writes_of_redis_are_in_the_trace_of_their_call() {
    let (world, collector) = (World::start().await, Collector::start().await.unwrap());
    let redis = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let config = config(&world, Nothing, collector.endpoint());
    let sidecar = world.sidecar_with_store(config, Arc::new(store));
    let login = sidecar.sign_in(&world).await;
    assert_eq!(
        send(&sidecar, &login, &list(), &[("traceparent", CONTEXT)]).await,
        200
    );
    let spans = collector.trace(TRACE).await;
    let operation = spans.iter().find(|span| span.name == "store").unwrap();
    assert_eq!(operation.attributes["db.operation.name"], "get");
    assert_eq!(operation.trace_id, TRACE);
    assert_eq!(operation.parent_span_id, named(&spans, "tools/list").span_id);
    assert!(sidecar.count(r#"behalf_session_store_seconds_count{operation="get",outcome="success"}"#) > 0);
    assert_exemplar(&sidecar, "behalf_session_store_seconds_bucket{");
}

#[tokio::test]
async fn failures_are_marked_with_their_kind() {
    let (world, collector, sidecar) = traced(Header).await;
    let policies = [Policy::blocked()];
    world
        .control()
        .put_policies(ANA.user_name, &policies)
        .await
        .unwrap();
    let login = sidecar.sign_in(&world).await;
    assert_eq!(send(&sidecar, &login, &call(), &[]).await, 200, "a tool result");
    let unknown = Request::post("https://mcp.contoso.example/mcp")
        .body(Body::empty())
        .unwrap();
    assert_eq!(sidecar.send(unknown).await.status(), 401);
    let spans = collector.spans(3).await;
    let entra = named(&spans, "entra on_behalf_of");
    assert!(
        entra.failed && entra.attributes["error.type"].starts_with("AADSTS"),
        "{entra:#?}"
    );
    assert_eq!(named(&spans, "tools/call").attributes["error.type"], "blocked");
    assert_eq!(named(&spans, "POST /mcp").attributes["error.type"], "no_token");
}

#[tokio::test]
async fn no_exported_byte_is_a_token_an_argument_a_query_or_a_mail_address() {
    let world = World::start().await;
    let collector = Collector::start().await.unwrap();
    let mut secrets = vec![
        "planted".to_owned(),
        ANA.user_name.to_owned(),
        ANA.display_name.to_owned(),
        ANA.object_id.to_owned(),
    ];
    let mut spans = 0;
    for injection in [Header, Argument] {
        let sidecar = world.sidecar_with(config(&world, injection, collector.endpoint()));
        for policies in [vec![], vec![Policy::multi_factor()], vec![Policy::blocked()]] {
            world
                .control()
                .put_policies(ANA.user_name, &policies)
                .await
                .unwrap();
            let login = sidecar.sign_in(&world).await;
            let mut message = call();
            message["params"]["arguments"] = json!({"planted-name": "planted-argument ana@contoso.example"});
            message["params"]["_meta"] =
                json!({"traceparent": "planted-context", "baggage": "user=planted-baggage"});
            let headers = [
                ("cookie", "a=planted-cookie"),
                ("baggage", "user=planted-baggage"),
                ("tracestate", "vendor=planted-state"),
                ("traceparent", "00-planted-traceparent-01"),
                ("user-agent", "planted-agent"),
            ];
            send(&sidecar, &login, &message, &headers).await;
            for path in [
                "/mcp?access_token=planted-query",
                "/authorize?client_id=planted-client&login_hint=ana@contoso.example",
                "/callback?code=planted-code&state=planted-state",
                "/planted-path?planted=query",
            ] {
                let uri = format!("https://mcp.contoso.example{path}");
                sidecar.send(Request::get(uri).body(Body::empty()).unwrap()).await;
                spans += 1;
            }
            let method = Request::builder()
                .method("PLANTED-METHOD")
                .uri("https://mcp.contoso.example/mcp");
            sidecar.send(method.body(Body::empty()).unwrap()).await;
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", "planted-token"),
                ("client_id", "planted-id"),
            ];
            sidecar.post_form("/token", &form).await;
            secrets.extend([login.access_token, login.at_entra, sidecar.host_key.clone()]);
            secrets.push(login.refresh_token.expose().to_owned());
            spans += 3;
        }
        flushed(sidecar, &collector).await;
    }
    let known = world.control().secrets().await.unwrap();
    secrets.extend(known.into_iter().map(|secret| secret.value));
    secrets.extend(world.server.received().iter().filter_map(Received::argument));
    assert!(
        collector.spans(0).await.len() > spans,
        "there is something to search"
    );
    let text = String::from_utf8_lossy(&collector.bytes()).to_lowercase();
    assert!(text.contains("tools/call") && text.contains("aadsts"));
    for secret in secrets {
        // Only the middle of a token is unique. The beginnings of JWTs are alike.
        let part = if secret.len() > 60 {
            &secret[secret.len() / 2..]
        } else {
            &*secret
        };
        assert!(!text.contains(&part.to_lowercase()), "exported: ..{part}");
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_no_call() {
    let world = World::start().await;
    // It accepts connections, and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap())
        .parse()
        .unwrap();
    let sidecar = world.sidecar_with(config(&world, Nothing, endpoint));
    let login = sidecar.sign_in(&world).await;
    assert_eq!(send(&sidecar, &login, &list(), &[]).await, 200);
    let (connection, _) = silent.accept().await.unwrap();
    // The export waits now.
    assert_eq!(send(&sidecar, &login, &list(), &[]).await, 200);
    drop(sidecar.traces_end);
    sidecar.traces.await.unwrap();
    drop(connection);
}

#[tokio::test]
async fn an_outage_of_the_collector_is_logged_once_and_its_spans_are_counted() {
    let log = CapturedLog::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _logging = subscriber.set_default();
    let (world, collector, sidecar) = traced(Nothing).await;
    let login = sidecar.sign_in(&world).await;
    collector.refuse(true);
    for outage in 1..=2 {
        assert_eq!(send(&sidecar, &login, &list(), &[]).await, 200);
        collector.requests(outage).await;
    }
    collector.refuse(false);
    assert_eq!(send(&sidecar, &login, &list(), &[]).await, 200);
    collector.spans(2).await;
    assert_eq!(
        sidecar.count(r#"behalf_trace_spans_dropped_total{reason="not_accepted"}"#),
        4
    );
    flushed(sidecar, &collector).await;
    let text = log.text();
    assert_eq!(text.matches("does not accept spans").count(), 1, "{text}");
    assert!(
        text.contains("503") && text.contains("spec.tracing.endpoint"),
        "{text}"
    );
    assert_eq!(text.matches("accepts spans again").count(), 1, "{text}");
}

#[tokio::test]
async fn strangers_fill_no_more_than_their_part_of_the_queue_and_users_are_still_recorded() {
    let (world, collector, sidecar) = traced(Nothing).await;
    let login = sidecar.sign_in(&world).await;
    let dropped = r#"behalf_trace_spans_dropped_total{reason="queue_full"}"#;
    let mut sent = 0;
    while sidecar.count(dropped) == 0 {
        let stranger = Request::post("https://mcp.contoso.example/mcp").header("traceparent", OTHER);
        sidecar.send(stranger.body(Body::empty()).unwrap()).await;
        sent += 1;
        assert!(sent < 20_000, "the queue is bounded");
    }
    assert_eq!(
        send(&sidecar, &login, &list(), &[("traceparent", CONTEXT)]).await,
        200
    );
    let spans = flushed(sidecar, &collector).await;
    assert_eq!(spans.iter().filter(|span| span.trace_id == TRACE).count(), 2);
    assert!(collector.largest() <= 512, "{}", collector.largest());
}

#[tokio::test]
async fn a_user_with_many_calls_displaces_no_spans_of_others() {
    let (world, collector, sidecar) = traced(Nothing).await;
    let anas = sidecar.sign_in(&world).await;
    let bens = sidecar.sign_in_as(&world, BEN).await;
    let dropped = r#"behalf_trace_spans_dropped_total{reason="queue_full"}"#;
    let mut sent = 0;
    while sidecar.count(dropped) == 0 {
        assert_eq!(
            send(&sidecar, &anas, &list(), &[("traceparent", OTHER)]).await,
            200
        );
        sent += 1;
        assert!(sent < 20_000, "the queue is bounded");
    }
    assert_eq!(
        send(&sidecar, &bens, &list(), &[("traceparent", CONTEXT)]).await,
        200
    );
    let spans = flushed(sidecar, &collector).await;
    assert_eq!(spans.iter().filter(|span| span.trace_id == TRACE).count(), 2);
}

#[tokio::test]
async fn spans_that_the_collector_rejects_in_an_accepted_request_are_counted() {
    let (world, collector, sidecar) = traced(Nothing).await;
    let login = sidecar.sign_in(&world).await;
    collector.reject(1);
    assert_eq!(send(&sidecar, &login, &list(), &[]).await, 200);
    collector.requests(1).await;
    drop(sidecar.traces_end);
    sidecar.traces.await.unwrap();
    let page = sidecar.metrics.encode();
    assert!(
        page.contains(r#"behalf_trace_spans_dropped_total{reason="not_accepted"} 1"#),
        "{page}"
    );
}

#[tokio::test]
async fn a_sidecar_that_stops_sends_its_last_spans() {
    let (world, collector) = (World::start().await, Collector::start().await.unwrap());
    let mut loaded = world.loaded();
    loaded.config = config(&world, Header, collector.endpoint());
    let sidecar = lifecycle::Sidecar::start(loaded, world.environment())
        .await
        .unwrap();
    let url = format!(
        "http://{}/.well-known/oauth-authorization-server",
        sidecar.public()
    );
    let client = reqwest::Client::builder().build().unwrap();
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    drop(client);
    sidecar.stop().await;
    let spans = collector.spans(0).await;
    named(&spans, "GET /.well-known/oauth-authorization-server");
}
