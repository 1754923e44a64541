//! The MCP port of the built-in server itself, which only containers of its Pod reach: requests with the host key that try to crash
//! the server.

use std::time::Duration;

use behalf_contract::{headers, paths, ports};
use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::credentials::pod_of;
use crate::ensure;
use crate::inside::Inside;
use crate::restarts::restarting_nothing;
use crate::survival::{PARALLEL, payloads};
use crate::world::{TestResult, World};

crate::tests![json_hidden_in_json_is_refused_by_the_server_itself_and_restarts_nothing,];

/// Maximum time for one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A server's port in its Pod, through the API server and the node.
struct Port {
    pods: Api<Pod>,
    pod: String,
}

impl Port {
    fn of(world: &World, pod: &Pod) -> Self {
        Self {
            pods: Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS),
            pod: pod.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Sends a message, with these headers. Returns the answer.
    async fn send(&self, headers: &str, body: &str) -> TestResult<String> {
        let mut forwarder = self.pods.portforward(&self.pod, &[ports::SERVER]).await?;
        let mut stream = forwarder
            .take_stream(ports::SERVER)
            .ok_or("the port was not forwarded")?;
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        timeout(ANSWER, stream.read_to_end(&mut answer)).await??;
        forwarder.abort();
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

async fn json_hidden_in_json_is_refused_by_the_server_itself_and_restarts_nothing(
    world: &World,
) -> TestResult {
    const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    for server in Server::ALL {
        let pod = pod_of(world, server).await?;
        let print = format!("cat /proc/1/root{}", paths::HOST_KEY);
        let key = Inside::of(world, &pod, "mcp-server")?.run(&print).await?;
        let with_key = format!("{}: {}\r\n", headers::HOST_KEY, key.trim());
        let port = Port::of(world, &pod);
        restarting_nothing(world, server, async || {
            for (name, body, _) in payloads() {
                let all = (0..PARALLEL).map(|_| port.send(&with_key, &body));
                for answer in try_join_all(all).await? {
                    ensure!(
                        answer.starts_with("HTTP/1.1 400 ") && answer.contains("-32600"),
                        "{}: {name} was answered {answer:.300}",
                        server.name()
                    );
                }
            }
            // The key is the right one, and the server still answers.
            let answers = [port.send(&with_key, PING).await?, port.send("", PING).await?];
            ensure!(
                answers[0].starts_with("HTTP/1.1 200 ") && !answers[1].starts_with("HTTP/1.1 200 "),
                "{}: a ping with the host key and one without it were answered {answers:?}",
                server.name()
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}
