//! Sends requests of a signed-in user that try to crash the sidecar or the server. The sidecar refuses them
//! all. `server_port` sends such requests to the server itself.

use behalf_demo::environment::Server;
use behalf_simulators::embedded_json::{hide, many_values, nested};
use behalf_simulators::people::ANA;
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::Value;

use crate::ensure;
use crate::restarts::restarting_nothing;
use crate::world::{TestResult, World};

crate::tests![json_hidden_in_json_is_refused_and_restarts_nothing];

/// Number of concurrent requests.
pub(crate) const PARALLEL: usize = 30;

/// Returns the requests: a name, the body, and the header `Mcp-Method` if it is sent.
pub(crate) fn payloads() -> Vec<(&'static str, String, Option<&'static str>)> {
    let call = |argument: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"list_pipeline_runs","arguments":{{"a":{argument}}}}}}}"#
        )
    };
    let id = nested(88_000);
    let own_token = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"list_pipeline_runs","arguments":{"bearerToken":"mine"}}}"#;
    vec![
        (
            "an id that the refusal would repeat",
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#),
            Some("tools/list"),
        ),
        ("nested JSON in an argument", call(&nested(247_000)), None),
        ("many values in an argument", call(&many_values(225_000)), None),
        ("a hidden tool call", hide(&call("1")), None),
        ("a hidden bearerToken", hide(own_token), None),
    ]
}

async fn json_hidden_in_json_is_refused_and_restarts_nothing(world: &World) -> TestResult {
    let http = reqwest::Client::builder().build()?;
    for server in Server::ALL {
        let address = world.layout.mcp_url(server);
        let token = world.access_token(server, &ANA).await?;
        restarting_nothing(world, server, async || {
            for (name, body, mcp_method) in payloads() {
                let send = || {
                    let mut request = http
                        .post(address.clone())
                        .bearer_auth(&token)
                        .header("content-type", "application/json")
                        .header("accept", "application/json, text/event-stream")
                        .body(body.clone());
                    if let Some(method) = mcp_method {
                        request = request.header("mcp-method", method);
                    }
                    async move {
                        let answer = request.send().await?;
                        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
                    }
                };
                for (status, text) in try_join_all((0..PARALLEL).map(|_| send())).await? {
                    let code =
                        serde_json::from_str(&text).map(|answer: Value| answer["error"]["code"].clone());
                    ensure!(
                        status == StatusCode::BAD_REQUEST && code.is_ok_and(|code| code == -32600),
                        "{}: {name} was answered {status}: {text:.200}",
                        server.name()
                    );
                }
            }
            Ok(())
        })
        .await?;
        // Sessions in memory end with the sidecar. This one still works, so the sidecar did not restart.
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let alive = http
            .post(address)
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .header("accept", "*/*")
            .body(list)
            .send()
            .await?;
        ensure!(
            alive.status() == StatusCode::OK,
            "{}: the session did not go on: {}",
            server.name(),
            alive.status()
        );
    }
    Ok(())
}
