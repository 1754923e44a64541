//! Shows that a session survives its Pod: deletes the Pod that answered a call, then calls again with the same access token.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calls::{call, sign_in, tools};
use super::sign_in::same_or_another;
use super::{DemoError, SignIn, internal_document};
use crate::environment::{Layout, NAMESPACE_SERVERS, Server};
use crate::mcp_client::Era;
use behalf_simulators::people::ANA;

/// Maximum time in which a deleted Pod stops: its grace period and some more.
const GONE: Duration = Duration::from_secs(90);

/// The tool of both calls.
const TOOL: &str = "list_pipeline_runs";

/// Two calls with one access token, and the Pod that was deleted between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// The Pod that answered the first call.
    pub deleted_pod: String,

    /// The sign-in, with a call before and a call after.
    pub sign_in: SignIn,

    /// Whether the client used the same access token for both.
    pub same_access_token: bool,
}

impl fmt::Display for Failover {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.sign_in)?;
        let token = same_or_another(self.same_access_token);
        writeln!(
            out,
            "    Pod {} answered the first call and is gone; the second call used {token} access token",
            self.deleted_pod
        )
    }
}

/// Signs Ana in at the article's server, and deletes the Pod that answers her first call.
pub(super) async fn play(client: &Client, layout: &Layout) -> Result<Failover, DemoError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE_SERVERS);
    let (signed_in, mut entry) = sign_in(layout, Server::Article, &ANA).await?;
    let connection = signed_in.connect(Era::Modern).await?;
    entry.tools = tools(&connection).await?;
    let token = || async { signed_in.manager().lock().await.get_access_token().await.ok() };

    let (counted, token_before) = (answered_calls(client, &pods).await?, token().await);
    let arguments = json!({"project": "shop", "top": 1});
    entry
        .calls
        .push(call(&connection, TOOL, arguments.clone()).await?);
    let deleted_pod = answered_calls(client, &pods)
        .await?
        .into_iter()
        .find(|(pod, calls)| counted.get(pod).is_some_and(|earlier| earlier < calls))
        .map(|(pod, _)| pod)
        .ok_or(DemoError::NoPodAnswered)?;
    pods.delete(&deleted_pod, &DeleteParams::default()).await?;
    // A Pod that stops still answers on the client's open connection, so the next call waits until it is gone.
    gone(&pods, &deleted_pod).await?;
    entry.calls.push(call(&connection, TOOL, arguments).await?);
    let same_access_token = token_before.is_some() && token_before == token().await;
    connection.close().await;
    Ok(Failover {
        deleted_pod,
        sign_in: entry,
        same_access_token,
    })
}

async fn gone(pods: &Api<Pod>, name: &str) -> Result<(), DemoError> {
    let began = Instant::now();
    while pods.get_opt(name).await?.is_some() {
        if began.elapsed() > GONE {
            return Err(DemoError::PodStays(name.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// The number of tool calls that each Pod of the article's server has answered, as its metrics say.
async fn answered_calls(client: &Client, pods: &Api<Pod>) -> Result<BTreeMap<String, u64>, DemoError> {
    let selector = format!("app.kubernetes.io/instance={}", Server::Article.name());
    let found = pods.list(&ListParams::default().labels(&selector)).await?;
    let mut calls = BTreeMap::new();
    for pod in found.into_iter().filter_map(|pod| pod.metadata.name) {
        let metrics = internal_document(client, &pod, "/metrics").await?;
        calls.insert(pod, tool_calls(&metrics));
    }
    Ok(calls)
}

fn tool_calls(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| {
            line.starts_with("behalf_mcp_requests_total{") && line.contains("method=\"tools/call\"")
        })
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tool_calls_of_every_status_and_no_other_requests() {
        let metrics = "# TYPE behalf_mcp_requests_total counter\n\
            behalf_mcp_requests_total{method=\"tools/call\",status=\"200\"} 3\n\
            behalf_mcp_requests_total{method=\"tools/call\",status=\"429\"} 1\n\
            behalf_mcp_requests_total{method=\"tools/list\",status=\"200\"} 9\n";
        assert_eq!(tool_calls(metrics), 4);
    }
}
