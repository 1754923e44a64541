//! The commands that the demo prints at its end.

use crate::environment::{Layout, Server};
use behalf_local_cluster::cluster::{Cluster, Kind};

/// Commands to explore the running demo.
pub fn next_steps(layout: &Layout, cluster: &Cluster) -> String {
    let kubectl = cluster.clients().kubectl().display();
    // With CLUSTER=current kubectl uses the reader's own kubeconfig.
    let command = match cluster.kind() {
        Kind::Local | Kind::Kind => {
            format!("{kubectl} --kubeconfig {}", cluster.kubeconfig().display())
        }
        Kind::Current => kubectl.to_string(),
    };
    text(layout, &command)
}

/// `kubectl` is what a shell on this machine can run: a fresh one has no kubectl in its PATH.
fn text(layout: &Layout, kubectl: &str) -> String {
    let url = layout.mcp_url(Server::Quickstart);
    let article = layout.mcp_url(Server::Article);
    format!(
        r#"
The demo runs:
  {url}   (quickstart)
  {article}   (article)

MCP Inspector (Node.js 22.19 or newer; sign in as ana, ben or carol when the browser asks):
  npx @modelcontextprotocol/inspector@2.12.0 --cli {url} --transport http --method tools/list

VS Code, .vscode/mcp.json:
  {{"servers": {{"azure-devops": {{"type": "http", "url": "{url}"}}}}}}

Look around:
  {kubectl} --namespace mcp describe mcpserver azure-devops

Remove every trace: make demo-down
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_kubectl_that_is_there() {
        let text = text(&Layout::demo(), "/cache/kubectl --kubeconfig /cache/admin.conf");
        assert!(
            text.contains("\n  /cache/kubectl --kubeconfig /cache/admin.conf --namespace mcp describe"),
            "{text}"
        );
        assert!(text.contains("22.19"), "{text}");
    }
}
