//! Traces: the server continues the sidecar's trace, and Azure DevOps gets its context.

use behalf_contract::{ObjectIdentity, TracingConfig};
use behalf_simulators::collector::{Collector, ReceivedSpan};
use rstest::rstest;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::{Ask, Pod, SHAPES, World};

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-11111111111111111111111111111111-00f067aa0ba902b7-00";

pub(crate) fn tracing(endpoint: Url) -> TracingConfig {
    TracingConfig {
        endpoint,
        object: ObjectIdentity {
            namespace: "mcp".to_owned(),
            name: "azure-devops".to_owned(),
        },
    }
}

/// Exports until the spans of this trace have arrived, and returns all spans. Those of a request arrive together.
async fn exported(pod: &Pod, collector: &Collector, trace: &str) -> Vec<ReceivedSpan> {
    let stop = CancellationToken::new();
    let export = tokio::spawn(pod.app.export_traces(stop.clone()));
    let spans = collector.trace(trace).await;
    stop.cancel();
    export.await.unwrap();
    spans
}

#[rstest]
#[tokio::test]
async fn every_request_of_a_call_is_in_the_trace_of_the_sidecar(#[values(0, 1, 2, 3)] shape: usize) {
    let (world, collector) = (World::start().await, Collector::start().await.unwrap());
    let (at, injection) = SHAPES[shape];
    let is_exchanged = at == behalf_contract::ExchangePlace::Server;
    let pod = world.pod_with(at, injection, |config| {
        config.tracing = Some(tracing(collector.endpoint()));
    });
    let token = match at {
        behalf_contract::ExchangePlace::Server => world.user_token("ana").await,
        behalf_contract::ExchangePlace::Sidecar => world.azure_token("ana").await,
    };
    let call = Ask::tool("list_pipeline_runs", json!({"top": 1}))
        .token((at, injection), &token)
        .header("traceparent", CONTEXT);
    pod.send(call).await.structured();

    let spans = exported(&pod, &collector, TRACE).await;
    assert!(
        spans.iter().all(|span| span.trace_id == TRACE && !span.failed),
        "{spans:#?}"
    );
    assert!(spans.iter().all(|span| span.service == "behalf-mcp-server"));
    let root = spans.iter().find(|span| span.name == "tools/call").unwrap();
    assert_eq!(root.parent_span_id, "00f067aa0ba902b7");
    assert_eq!(root.attributes["gen_ai.tool.name"], "list_pipeline_runs");
    let children: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id == root.span_id)
        .collect();
    assert_eq!(children.len() + 1, spans.len(), "{spans:#?}");
    assert_eq!(
        children.iter().any(|span| span.name == "entra on_behalf_of"),
        is_exchanged
    );
    let asked: Vec<_> = children
        .iter()
        .filter(|span| span.name == "azure_devops")
        .collect();
    assert!(!asked.is_empty());
    let record = world.azure().record().await.unwrap();
    let received: Vec<_> = record
        .iter()
        .filter_map(|call| call.traceparent.clone())
        .collect();
    assert_eq!(received.len(), asked.len(), "{record:#?}");
    for span in asked {
        assert!(
            received.contains(&format!("00-{TRACE}-{}-01", span.span_id)),
            "{received:?}"
        );
        assert_eq!(span.attributes["http.response.status_code"], "200");
        assert_eq!(span.attributes["server.address"], "127.0.0.1");
    }
}

#[tokio::test]
async fn azure_devops_gets_a_context_only_with_a_collector() {
    let (world, collector) = (World::start().await, Collector::start().await.unwrap());
    let (at, injection) = SHAPES[0];
    let token = world.azure_token("ana").await;
    let call = |context: &str| {
        Ask::tool("list_pipeline_runs", json!({"top": 1}))
            .token((at, injection), &token)
            .header("traceparent", context)
    };
    world.pod(at, injection).send(call(CONTEXT)).await.structured();
    let record = world.azure().record().await.unwrap();
    assert!(!record.is_empty() && record.iter().all(|call| call.traceparent.is_none()));

    world.azure().clear_record().await.unwrap();
    let pod = world.pod_with(at, injection, |config| {
        config.tracing = Some(tracing(collector.endpoint()));
    });
    pod.send(call(UNSAMPLED)).await.structured();
    let record = world.azure().record().await.unwrap();
    pod.send(call(CONTEXT)).await.structured();
    let spans = exported(&pod, &collector, TRACE).await;
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
    assert!(!record.is_empty());
    for call in record {
        let context = call.traceparent.unwrap();
        assert!(context.starts_with("00-11111111111111111111111111111111-") && context.ends_with("-00"));
    }
}

#[tokio::test]
async fn no_exported_byte_is_a_token_or_an_argument() {
    let (world, collector) = (World::start().await, Collector::start().await.unwrap());
    let mut secrets = vec!["planted".to_owned(), "shop".to_owned(), "contoso".to_owned()];
    secrets.push(crate::support::HOST_KEY.to_owned());
    for (index, (at, injection)) in SHAPES.into_iter().enumerate() {
        let pod = world.pod_with(at, injection, |config| {
            config.tracing = Some(tracing(collector.endpoint()));
        });
        for token in [
            world.user_token("ana").await,
            world.azure_token("ana").await,
            "planted-token".to_owned(),
        ] {
            for arguments in [
                json!({"top": 1, "continuation_token": "planted-token"}),
                json!({"pipeline_id": "planted-pipeline"}),
                json!({"project": "planted-project"}),
            ] {
                let call = Ask::tool("list_pipeline_runs", arguments)
                    .token((at, injection), &token)
                    .header("baggage", "planted=1");
                pod.send(call).await;
            }
            secrets.push(token);
        }
        pod.send(Ask::request("planted/method").bearer("planted")).await;
        pod.send(Ask::raw("planted-body")).await;
        // Spans arrive in the order of the requests, so that this trace is the last one of the server.
        let trace = format!("{index:x}{}", &TRACE[1..]);
        let last = format!("00-{trace}-00f067aa0ba902b7-01");
        pod.send(Ask::request("tools/list").header("traceparent", &last))
            .await;
        exported(&pod, &collector, &trace).await;
    }
    secrets.extend(world.azure().tokens().await.unwrap());
    let text = String::from_utf8_lossy(&collector.bytes()).to_lowercase();
    for name in ["azure_devops", "list_pipeline_runs"] {
        assert!(text.contains(name), "no {name} in {text}");
    }
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
