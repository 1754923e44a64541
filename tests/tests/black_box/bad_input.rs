//! Malformed requests against every route, and malformed objects against the API server.

use behalf_tests::environment::Server;
use behalf_tests::people::ANA;
use serde_json::{Value, json};

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    malformed_requests_get_standard_errors_on_every_route,
    malformed_objects_are_refused_with_a_reason,
];

/// A request that no client should send.
struct Bad {
    route: &'static str,
    method: &'static str,
    path: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    /// Sent by a signed-in client: only then does `/mcp` look at the rest.
    signed_in: bool,
}

fn bad(route: &'static str, method: &'static str, path: &'static str) -> Bad {
    Bad {
        route,
        method,
        path,
        content_type: None,
        body: Vec::new(),
        signed_in: false,
    }
}

impl Bad {
    fn body(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type);
        self.body = body.into();
        self
    }
}

/// A request to `/mcp` by a signed-in client.
fn call(content_type: &'static str, body: impl Into<Vec<u8>>) -> Bad {
    Bad {
        signed_in: true,
        ..bad("/mcp", "POST", "/mcp").body(content_type, body)
    }
}

/// More than any OAuth endpoint takes, in bytes.
const OVERSIZED: usize = 48 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Every route of the public port with requests that must fail, each with a client error.
fn table() -> Vec<Bad> {
    let big = vec![b'a'; OVERSIZED];
    let invalid = b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}".to_vec();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let mut all = Vec::new();
    for route in METADATA {
        all.push(bad(route, "POST", route));
        all.push(bad(route, "DELETE", route));
    }
    all.extend([
        bad("/register", "GET", "/register"),
        bad("/register", "POST", "/register"),
        bad("/register", "POST", "/register").body(JSON, "{"),
        bad("/register", "POST", "/register").body(JSON, "[]"),
        bad("/register", "POST", "/register").body(JSON, b"\xff\xfe".to_vec()),
        bad("/register", "POST", "/register").body(JSON, deep.clone()),
        bad("/register", "POST", "/register").body(JSON, big.clone()),
        bad("/register", "POST", "/register").body(FORM, "redirect_uris=x"),
        bad("/register", "POST", "/register").body(JSON, r#"{"redirect_uris":[]}"#),
        bad("/register", "POST", "/register").body(JSON, r#"{"redirect_uris":"http://127.0.0.1/"}"#),
        bad("/register", "POST", "/register").body(JSON, r#"{"redirect_uris":["javascript:alert(1)"]}"#),
        bad("/register", "POST", "/register").body(JSON, r#"{"redirect_uris":["http://evil.example/cb"]}"#),
        bad("/authorize", "GET", "/authorize"),
        bad("/authorize", "GET", "/authorize?client_id=%00&redirect_uri=%ff"),
        bad(
            "/authorize",
            "GET",
            "/authorize?client_id=c&client_id=d&redirect_uri=http://127.0.0.1/",
        ),
        bad("/authorize", "DELETE", "/authorize"),
        bad("/consent", "GET", "/consent"),
        bad("/consent", "POST", "/consent"),
        bad("/consent", "POST", "/consent").body(FORM, "%%%=&&&"),
        bad("/consent", "POST", "/consent").body(FORM, big.clone()),
        bad("/callback", "GET", "/callback"),
        bad("/callback", "GET", "/callback?code=x&state=y"),
        bad("/callback", "GET", "/callback?error=%00&state="),
        bad("/callback", "POST", "/callback"),
        bad("/token", "GET", "/token"),
        bad("/token", "POST", "/token"),
        bad("/token", "POST", "/token").body(JSON, "{}"),
        bad("/token", "POST", "/token").body(FORM, "grant_type=password"),
        bad("/token", "POST", "/token").body(FORM, "grant_type=authorization_code&code=%ff%00"),
        bad("/token", "POST", "/token").body(FORM, "grant_type=refresh_token&refresh_token=x&client_id=y"),
        bad("/token", "POST", "/token").body(FORM, "grant_type=refresh_token&grant_type=refresh_token"),
        bad("/token", "POST", "/token").body(FORM, big.clone()),
        bad("/mcp", "POST", "/mcp"),
        bad("/mcp", "POST", "/mcp").body(JSON, "{"),
        bad("/mcp", "POST", "/mcp").body(JSON, big),
        call(JSON, ""),
        call(JSON, "{"),
        call(JSON, "[]"),
        call(JSON, "null"),
        call(JSON, r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#),
        call(JSON, deep),
        call(JSON, invalid),
        call("text/plain", "{}"),
        call(FORM, "a=b"),
        call(
            JSON,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}"#,
        ),
        call(JSON, r#"{"jsonrpc":"2.0","id":1,"method":7}"#),
        call(
            JSON,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":7}"#,
        ),
        bad("/revoke", "GET", "/revoke"),
        bad("/revoke", "POST", "/revoke"),
        bad("/revoke", "POST", "/revoke").body(JSON, "{}"),
        bad("/revoke", "POST", "/revoke").body(FORM, "token=x&token=y"),
        bad("/mcp", "GET", "/mcp"),
        bad("/mcp", "DELETE", "/mcp"),
        bad("/mcp", "PUT", "/mcp"),
        bad("", "GET", "/nothing-here"),
        bad("", "GET", "/..%2f..%2fetc/passwd"),
    ]);
    all
}

/// The documents that discovery starts from.
const METADATA: [&str; 4] = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

async fn malformed_requests_get_standard_errors_on_every_route(world: &World) -> TestResult {
    let table = table();
    for route in behalf_auth_sidecar::app::public_paths() {
        ensure!(
            table.iter().any(|row| row.route == route),
            "route {route} is missing from the table"
        );
    }
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        // A refusal may close its connection: the next request must not find a closed one in the pool.
        .pool_max_idle_per_host(0)
        .build()?;
    for server in Server::ALL {
        let base = world.layout.public_url(server);
        let token = world.access_token(server, &ANA).await?;
        for row in &table {
            let mut request = http
                .request(row.method.parse()?, base.join(row.path)?)
                .body(row.body.clone());
            if let Some(content_type) = row.content_type {
                request = request.header("content-type", content_type);
            }
            if row.signed_in {
                request = request
                    .header("accept", "application/json, text/event-stream")
                    .bearer_auth(&token);
            }
            let what = format!(
                "{} {} with {:.60?}",
                row.method,
                row.path,
                String::from_utf8_lossy(&row.body)
            );
            let answer = match request.send().await {
                Ok(answer) => answer,
                // Who goes on sending after the refusal may find the connection closed before reading it.
                Err(_) if row.body.len() >= OVERSIZED => continue,
                Err(error) => return Err(format!("{what}: {error}").into()),
            };
            let status = answer.status();
            ensure!(status.is_client_error(), "{what}: answered {status}");
            ensure!(
                !row.signed_in || status != reqwest::StatusCode::UNAUTHORIZED,
                "{what}: the token was not taken, so nothing was tested"
            );
            let text = answer.text().await?;
            if matches!(row.route, "/register" | "/token") && !matches!(status.as_u16(), 404 | 405) {
                let error: Value =
                    serde_json::from_str(&text).map_err(|_| format!("{what}: no JSON: {text}"))?;
                ensure!(
                    error.get("error").is_some_and(Value::is_string),
                    "{what}: no error code: {text}"
                );
            }
        }
        world.wait_ready(server).await?;
    }
    for server in Server::ALL {
        let pod = crate::credentials::pod_of(world, server).await?;
        let text = serde_json::to_string(&pod.status)?;
        ensure!(
            !text.contains("\"restartCount\":1"),
            "bad input restarted a container of {}",
            server.name()
        );
    }
    Ok(())
}

async fn malformed_objects_are_refused_with_a_reason(world: &World) -> TestResult {
    let text = world.kubectl(&["get", "mcpserver", Server::Quickstart.name(), "--output", "json"])?;
    let good: Value = serde_json::from_str(&text)?;
    let cases: [(&str, &str, Value); 10] = [
        (
            "a path in publicUrl",
            "/spec/publicUrl",
            json!("https://mcp.contoso.example/path"),
        ),
        (
            "a slash at the end of publicUrl",
            "/spec/publicUrl",
            json!("https://mcp.contoso.example/"),
        ),
        (
            "plain http beyond loopback",
            "/spec/publicUrl",
            json!("http://mcp.contoso.example"),
        ),
        (
            "upper case in publicUrl",
            "/spec/publicUrl",
            json!("https://MCP.contoso.example"),
        ),
        (
            "a tenant that is no GUID",
            "/spec/entra/tenantId",
            json!("common"),
        ),
        ("a client that is no GUID", "/spec/entra/clientId", json!("")),
        ("no server", "/spec/server", json!({})),
        (
            "a number for an organization",
            "/spec/server/azureDevOps/organization",
            json!(7),
        ),
        (
            "an unknown place of exchange",
            "/spec/tokenExchange",
            json!({"at": "Somewhere"}),
        ),
        (
            "a reserved variable",
            "/spec/server/env",
            json!([{"name": "AZURE_CLIENT_SECRET", "value": "x"}]),
        ),
    ];
    for (what, pointer, value) in cases {
        let mut object = json!({
            "apiVersion": good["apiVersion"], "kind": good["kind"],
            "metadata": {"name": "malformed"}, "spec": good["spec"],
        });
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.insert(key.to_owned(), value);
        }
        let applied = world.apply(&object);
        let refused = match applied {
            Ok(()) => {
                world.kubectl(&["delete", "mcpserver", "malformed"])?;
                return Err(format!("{what} was taken").into());
            }
            Err(error) => crate::world::chain(error.as_ref()),
        };
        let field = pointer.rsplit('/').next().unwrap_or_default();
        ensure!(
            refused.contains(field) || refused.contains("spec"),
            "{what}: the refusal names no field: {refused}"
        );
    }
    Ok(())
}
