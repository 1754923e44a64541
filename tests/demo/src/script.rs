//! The sign-ins and tool calls that the demo plays.

use std::time::Instant;

use rmcp::model::CallToolResult;
use serde_json::{Value, json};

use super::{Call, DemoError, Outcome, Running, SignIn, Transcript, administration, failover};
use crate::environment::{Layout, Server};
use crate::mcp_client::{CLIENT_NAME, Connection, Era, PendingSignIn, SignedIn};
use behalf_simulators::people::{ANA, BEN, CAROL, Person};
use behalf_simulators::sign_in::{Browser, Visit};

/// The calls of each person: Ana calls all four tools, and asks for a project that is hidden from her; Ben the same lists, with
/// other answers; Carol what she may not do.
fn script(person: &Person) -> Vec<(&'static str, Value)> {
    let runs = ("list_pipeline_runs", json!({"project": "shop", "top": 5}));
    let payments = ("list_pipeline_runs", json!({"project": "payments", "top": 5}));
    if person == &ANA {
        vec![
            runs,
            payments,
            ("get_run_failure_logs", json!({"project": "shop", "run_id": 638})),
            ("list_deployments", json!({"project": "shop"})),
            (
                "trigger_pipeline_run",
                json!({"project": "shop", "pipeline_id": 178, "branch": "main"}),
            ),
        ]
    } else if person == &BEN {
        vec![runs, payments]
    } else {
        vec![
            runs,
            (
                "trigger_pipeline_run",
                json!({"project": "shop", "pipeline_id": 178, "branch": "main"}),
            ),
        ]
    }
}

/// Signs all users in at each server and makes the calls. Then deletes a Pod, rotates the keys and ends a session. Calls
/// `said` with each finished part.
pub async fn play(
    running: &Running,
    layout: &Layout,
    mut said: impl FnMut(&str),
) -> Result<Transcript, DemoError> {
    let mut transcript = Transcript::default();
    for server in Server::ALL {
        said(&format!("\n{} ({})\n", server.name(), server.description()));
        for person in [ANA, BEN, CAROL] {
            let era = if server == Server::Quickstart {
                Era::Modern
            } else {
                Era::Legacy
            };
            let entry = visit(layout, server, &person, era).await?;
            said(&entry.to_string());
            transcript.sign_ins.push(entry);
        }
    }
    said(&format!(
        "\n{}: its Pods come and go, the session stays\n",
        Server::Article.name()
    ));
    let failover = failover::play(&running.client, layout).await?;
    said(&failover.to_string());
    transcript.failover = Some(failover);
    said(&format!(
        "\n{}: an administrator rotates the keys, then ends a session\n",
        Server::Article.name()
    ));
    let administration = administration::play(running, layout).await?;
    said(&administration.to_string());
    transcript.administration = Some(administration);
    Ok(transcript)
}

async fn visit(layout: &Layout, server: Server, person: &Person, era: Era) -> Result<SignIn, DemoError> {
    let (signed_in, mut entry) = sign_in(layout, server, person).await?;
    let connection = signed_in.connect(era).await?;
    entry.tools = tools(&connection).await?;
    for (tool, arguments) in script(person) {
        entry.calls.push(call(&connection, tool, arguments).await?);
    }
    connection.close().await;
    Ok(entry)
}

/// Signs a person in with rmcp's client, and begins the entry of the transcript.
pub(super) async fn sign_in(
    layout: &Layout,
    server: Server,
    person: &Person,
) -> Result<(SignedIn, SignIn), DemoError> {
    let started = Instant::now();
    let pending = PendingSignIn::begin(&layout.mcp_url(server)).await?;
    let visit = Visit::new(pending.authorize_url().clone(), person.user_name).client_name(CLIENT_NAME);
    let back = Browser::new()?.sign_in(&visit).await?;
    let signed_in = pending.finish(&back.redirect).await?;
    let entry = SignIn {
        server: server.name().to_owned(),
        user: person.user_name.to_owned(),
        object_id: person.object_id.to_owned(),
        steps: back.trace,
        seconds: started.elapsed().as_secs_f64(),
        tools: Vec::new(),
        calls: Vec::new(),
    };
    Ok((signed_in, entry))
}

/// The names of the tools that the server lists.
pub(super) async fn tools(connection: &Connection) -> Result<Vec<String>, DemoError> {
    let tools = connection.tools().await?.into_iter();
    Ok(tools.map(|tool| tool.name.into_owned()).collect())
}

pub(super) async fn call(connection: &Connection, tool: &str, arguments: Value) -> Result<Call, DemoError> {
    let started = Instant::now();
    let result = connection.call(tool, arguments.clone()).await?;
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let outcome = if result.is_error == Some(true) {
        Outcome::Refused
    } else {
        Outcome::Done
    };
    Ok(Call {
        tool: tool.to_owned(),
        arguments,
        outcome,
        text: text(&result),
        milliseconds,
    })
}

/// The text that a model would read.
pub fn text(result: &CallToolResult) -> String {
    result
        .content
        .iter()
        .filter_map(|content| content.as_text().map(|text| text.text.as_str()))
        .collect::<Vec<_>>()
        .join("\n")
}
