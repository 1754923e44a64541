use crate::cluster::Kind;
use crate::environment::{Layout, Server};

/// How to look around in the running demo.
pub fn next_steps(layout: &Layout, kind: Kind) -> String {
    let kubeconfig = match kind {
        Kind::Local | Kind::Kind => "\n  export KUBECONFIG=$(make --silent demo-kubeconfig)",
        Kind::Current => "",
    };
    let url = layout.mcp_url(Server::Quickstart);
    let article = layout.mcp_url(Server::Article);
    format!(
        r#"
The demo runs:
  {url}   (quickstart)
  {article}   (article)

MCP Inspector (Node.js 22 or newer; sign in as ana, ben or carol when the browser asks):
  npx @modelcontextprotocol/inspector@2.12.0 --cli {url} --transport http --method tools/list

VS Code, .vscode/mcp.json:
  {{"servers": {{"azure-devops": {{"type": "http", "url": "{url}"}}}}}}

Look around:{kubeconfig}
  kubectl --namespace mcp describe mcpserver azure-devops

Remove every trace: make demo-down
"#
    )
}
