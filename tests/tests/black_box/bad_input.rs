//! Malformed requests against every route.

use behalf_tests::environment::{NAMESPACE_SERVERS, Server};
use behalf_tests::people::ANA;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde_json::Value;

use crate::credentials::{pod_of, restarts};
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![malformed_requests_get_standard_errors_on_every_route];

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

    fn is_oversized(&self) -> bool {
        self.body.len() >= OVERSIZED
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
        bad("/mcp/", "POST", "/mcp/").body(JSON, "{"),
        bad("/mcp/", "PUT", "/mcp/"),
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
        let before = pod_of(world, server).await?;
        let mut too_large = 0;
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
            let Some((status, headers, text)) = send(request, row, &what).await? else {
                continue;
            };
            ensure!(status.is_client_error(), "{what}: answered {status}");
            ensure!(
                !row.signed_in || status != StatusCode::UNAUTHORIZED,
                "{what}: the token was not taken, so nothing was tested"
            );
            too_large += usize::from(row.is_oversized() && status == StatusCode::PAYLOAD_TOO_LARGE);
            let standard = match row.route {
                // What people see there is a page.
                "/authorize" | "/consent" | "/callback" => Ok(()),
                "/mcp" | "/mcp/" => is_mcp_error(status, &headers, &text),
                _ => is_oauth_error(&text),
            };
            standard.map_err(|problem| format!("{what}: {problem}"))?;
        }
        ensure!(
            too_large > 0,
            "{}: no answer said that a body is too large",
            server.name()
        );
        world.wait_ready(server).await?;
        let after = pod_of(world, server).await?;
        ensure!(
            after.metadata.uid == before.metadata.uid && restarts(&after) == restarts(&before),
            "bad input restarted {}: {} restarts before, {} after",
            server.name(),
            restarts(&before),
            restarts(&after)
        );
        nothing_panicked(world, &after).await?;
    }
    Ok(())
}

/// How often a large body is sent before its refusal is given up.
const ATTEMPTS: usize = 5;

/// Sends a row and reads the answer. Who goes on sending after the refusal of a large body may find the
/// connection closed before reading it: then there is no answer, after some attempts.
async fn send(
    request: reqwest::RequestBuilder,
    row: &Bad,
    what: &str,
) -> TestResult<Option<(StatusCode, HeaderMap, String)>> {
    for _ in 0..ATTEMPTS {
        let copy = request.try_clone().ok_or("a body that cannot be sent twice")?;
        let exchange = async {
            let answer = copy.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok((status, headers, answer.text().await?))
        };
        match exchange.await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error)
                if row.is_oversized() && !reqwest::Error::is_connect(&error) && !error.is_timeout() => {}
            Err(error) => return Err(format!("{what}: {error}").into()),
        }
    }
    Ok(None)
}

/// RFC 6749, section 5.2; RFC 7009, section 2.2.1; RFC 7591, section 3.2.2.
fn is_oauth_error(text: &str) -> Result<(), String> {
    let body: Value = serde_json::from_str(text).map_err(|_| format!("no JSON: {text}"))?;
    let has = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    (has("error") && has("error_description"))
        .then_some(())
        .ok_or_else(|| format!("no OAuth error: {text}"))
}

/// An error of JSON-RPC 2.0, section 5.1; where a token is missing, a challenge too (RFC 6750, section 3).
fn is_mcp_error(status: StatusCode, headers: &HeaderMap, text: &str) -> Result<(), String> {
    let body: Value = serde_json::from_str(text).map_err(|_| format!("no JSON: {text}"))?;
    let is_error = body["jsonrpc"] == "2.0"
        && body["error"]["code"].is_i64()
        && body["error"]["message"].is_string()
        && body.get("id").is_some();
    if !is_error {
        return Err(format!("no JSON-RPC error: {text}"));
    }
    let challenge = headers.get(WWW_AUTHENTICATE);
    let challenge = challenge
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    // Without a token there is no error code (RFC 6750, section 3.1).
    let is_challenge = challenge.starts_with("Bearer ")
        && challenge.contains("resource_metadata=\"")
        && !challenge.contains("error=");
    if is_challenge == (status == StatusCode::UNAUTHORIZED) {
        Ok(())
    } else {
        Err(format!("answered {status} with the challenge {challenge:?}"))
    }
}

/// A panic that was caught restarts nothing, but is told in the log.
async fn nothing_panicked(world: &World, pod: &Pod) -> TestResult {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let spec = pod.spec.as_ref().ok_or("the Pod has no spec")?;
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let parameters = LogParams {
            container: Some(container.name.clone()),
            ..LogParams::default()
        };
        let log = pods.logs(&name, &parameters).await?;
        ensure!(!log.is_empty(), "{name}/{} logged nothing", container.name);
        let panic = log.lines().find(|line| line.contains("panicked at"));
        ensure!(panic.is_none(), "{name}/{} panicked: {panic:?}", container.name);
    }
    Ok(())
}
