//! The sign-ins and tool calls that the demo plays.

use serde_json::{Value, json};

use super::calls::{call, sign_in, tools};
use super::{DemoError, Running, SignIn, Transcript, administration, failover};
use crate::environment::{Layout, Server};
use crate::mcp_client::Era;
use behalf_simulators::people::{ANA, BEN, CAROL, Person};

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
