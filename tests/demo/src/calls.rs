//! Signs a person in and calls tools, as a client does.

use std::time::Instant;

use rmcp::model::CallToolResult;
use serde_json::Value;

use super::{Call, DemoError, Outcome, SignIn};
use crate::environment::{Layout, Server};
use crate::mcp_client::{CLIENT_NAME, Connection, PendingSignIn, SignedIn};
use behalf_simulators::people::Person;
use behalf_simulators::sign_in::{Browser, Visit};

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
