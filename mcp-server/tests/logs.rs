//! No token reaches a log, at any level, from any library: the subscriber here takes everything.
//!
//! One test in a process of its own, because the subscriber is global: work that the MCP library and the
//! HTTP client do on other threads is seen too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use behalf_contract::ExchangePlace;
use behalf_simulators::azure_devops::{Action, Fault, PLANTED_INSTRUCTIONS};
use behalf_simulators::entra::Policy;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use support::{Ask, HOST_KEY, SHAPES, World};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_reaches_a_log_at_any_level() {
    let captured = Captured::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone())
        .init();
    let world = World::start().await;
    let (user, azure) = (world.user_token("ana").await, world.azure_token("ana").await);
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        let token = if shape.0 == ExchangePlace::Server {
            &user
        } else {
            &azure
        };
        // Good calls, a refused token, a blocked user, malformed calls.
        pod.call(token, "list_pipeline_runs", json!({}))
            .await
            .structured();
        pod.call(token, "get_run_failure_logs", json!({"run_id": 638}))
            .await
            .structured();
        pod.call(token, "list_pipeline_runs", json!({"top": 99}))
            .await
            .tool_error();
        pod.call(token, "no_such_tool", json!({})).await;
        world
            .azure()
            .fault(&Fault::always(Action::SignInPage))
            .await
            .unwrap();
        pod.call(token, "list_pipeline_runs", json!({}))
            .await
            .reauthenticate();
        world.azure().clear_faults().await.unwrap();
        pod.send(
            Ask::tool("list_pipeline_runs", json!({}))
                .bearer(token)
                .argument(json!({"a": token})),
        )
        .await;
        pod.send(Ask::raw(format!("{{ \"broken\": \"{token}\"")).bearer(token))
            .await;
        pod.send(Ask::raw(format!("[\"{token}\"]")).bearer(token)).await;
    }
    world
        .entra()
        .put_policies("ana", &[Policy::blocked()])
        .await
        .unwrap();
    let pod = world.pod(SHAPES[3].0, SHAPES[3].1);
    pod.call(&user, "list_pipeline_runs", json!({}))
        .await
        .tool_error();

    let mut secrets: Vec<String> = vec![HOST_KEY.to_owned(), user.clone(), azure];
    secrets.push(std::fs::read_to_string(world.federated_token_file()).unwrap());
    secrets.extend(world.azure().tokens().await.unwrap());
    secrets.extend(
        world
            .entra()
            .secrets()
            .await
            .unwrap()
            .into_iter()
            .map(|secret| secret.value),
    );
    // The search itself works.
    let planted = "planted-0123456789";
    tracing::trace!("{planted}");
    let text = captured.text();
    assert!(text.contains(planted));
    assert!(
        text.contains("received request") && text.contains("TRACE"),
        "the MCP library was not heard"
    );
    assert!(secrets.len() > 6, "too few secrets to look for");
    for secret in secrets {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(secret.trim())).collect();
        assert!(
            lines.is_empty(),
            "{} lines hold a secret of {} bytes: {}",
            lines.len(),
            secret.len(),
            origin(lines[0])
        );
    }
    // No line of the server contains the output of a pipeline or the name of a person.
    for line in text
        .lines()
        .filter(|line| line.contains(" behalf_mcp_server") || line.contains(" behalf_entra"))
    {
        for word in PLANTED_INSTRUCTIONS
            .into_iter()
            .chain(["Ana Contoso", "ana@contoso.example"])
        {
            assert!(!line.contains(word), "{line}");
        }
    }
}

/// Where a line comes from, without the line.
fn origin(line: &str) -> String {
    line.chars().skip(28).take(80).collect()
}
