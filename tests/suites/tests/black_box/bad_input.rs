//! Malformed requests against every route.

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_runtime::error_chain;
use behalf_simulators::people::ANA;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use reqwest::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use serde_json::Value;

use crate::credentials::pod_of;
use crate::ensure;
use crate::restarts::restarting_nothing;
use crate::world::{TestResult, World};

crate::tests![malformed_requests_get_their_exact_error_on_every_route];

/// A request that no client should send, and the answer that it must get.
struct Bad {
    route: &'static str,
    method: &'static str,
    path: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    /// Sent by a signed-in client: only then does `/mcp` look at the rest.
    signed_in: bool,
    answer: Answer,
}

/// The only correct answer.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// An HTML page with this status.
    Page(u16),

    /// Status and `error` of an OAuth error (RFC 6749, section 5.2; RFC 7009, section 2.2.1; RFC 7591, section
    /// 3.2.2).
    OAuth(u16, &'static str),

    /// Status and code of a JSON-RPC error (JSON-RPC 2.0, section 5.1) that has no id: none could be read.
    JsonRpc(u16, i64),

    /// Status and code of a JSON-RPC error with the id 1 that the request had.
    JsonRpcOf1(u16, i64),

    /// 401 with a challenge that has no error code, because the request had no token (RFC 6750, section 3.1).
    Challenge,
}

use Answer::{Challenge, JsonRpc, JsonRpcOf1, OAuth, Page};

/// A request without a body.
fn bad(route: &'static str, method: &'static str, path: &'static str, answer: Answer) -> Bad {
    Bad {
        route,
        method,
        path,
        content_type: None,
        body: Vec::new(),
        signed_in: false,
        answer,
    }
}

/// A request with a body.
fn post(route: &'static str, content_type: &'static str, body: impl Into<Vec<u8>>, answer: Answer) -> Bad {
    Bad {
        content_type: Some(content_type),
        body: body.into(),
        ..bad(route, "POST", route, answer)
    }
}

/// A request to `/mcp` by a signed-in client.
fn call(content_type: &'static str, body: impl Into<Vec<u8>>, answer: Answer) -> Bad {
    Bad {
        signed_in: true,
        ..post("/mcp", content_type, body, answer)
    }
}

/// More than any OAuth endpoint takes, in bytes.
const OVERSIZED: usize = 48 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Every route of the public port with requests that must fail, each with its answer.
fn table() -> Vec<Bad> {
    let mut all = Vec::new();
    for route in METADATA {
        all.push(bad(route, "POST", route, OAuth(405, "invalid_request")));
        all.push(bad(route, "DELETE", route, OAuth(405, "invalid_request")));
    }
    all.extend(of_register());
    all.extend(of_pages());
    all.extend(of_token_and_revoke());
    all.extend(of_mcp());
    all.extend([
        bad("/healthz", "POST", "/healthz", OAuth(405, "invalid_request")),
        bad("", "GET", "/nothing-here", OAuth(404, "not_found")),
        bad("", "GET", "/..%2f..%2fetc/passwd", OAuth(404, "not_found")),
    ]);
    all
}

fn big() -> Vec<u8> {
    vec![b'a'; OVERSIZED]
}

fn deep() -> String {
    format!("{}{}", "[".repeat(20_000), "]".repeat(20_000))
}

fn of_register() -> Vec<Bad> {
    const ROUTE: &str = "/register";
    const METADATA: Answer = OAuth(400, "invalid_client_metadata");
    const REDIRECT_URI: Answer = OAuth(400, "invalid_redirect_uri");
    vec![
        bad(ROUTE, "GET", ROUTE, OAuth(405, "invalid_request")),
        bad(ROUTE, "POST", ROUTE, OAuth(415, "invalid_client_metadata")),
        post(
            ROUTE,
            FORM,
            "redirect_uris=x",
            OAuth(415, "invalid_client_metadata"),
        ),
        post(ROUTE, JSON, deep(), OAuth(413, "invalid_client_metadata")),
        post(ROUTE, JSON, big(), OAuth(413, "invalid_client_metadata")),
        post(ROUTE, JSON, "{", METADATA),
        post(ROUTE, JSON, "[]", METADATA),
        post(ROUTE, JSON, b"\xff\xfe".to_vec(), METADATA),
        post(ROUTE, JSON, r#"{"redirect_uris":"http://127.0.0.1/"}"#, METADATA),
        post(ROUTE, JSON, r#"{"redirect_uris":[]}"#, REDIRECT_URI),
        post(
            ROUTE,
            JSON,
            r#"{"redirect_uris":["javascript:alert(1)"]}"#,
            REDIRECT_URI,
        ),
        post(
            ROUTE,
            JSON,
            r#"{"redirect_uris":["http://evil.example/cb"]}"#,
            REDIRECT_URI,
        ),
    ]
}

fn of_pages() -> Vec<Bad> {
    let authorize = |query: &'static str| bad("/authorize", "GET", query, Page(400));
    let callback = |query: &'static str| bad("/callback", "GET", query, Page(400));
    vec![
        authorize("/authorize"),
        authorize("/authorize?client_id=%00&redirect_uri=%ff"),
        authorize("/authorize?client_id=c&client_id=d&redirect_uri=http://127.0.0.1/"),
        bad(
            "/authorize",
            "DELETE",
            "/authorize",
            OAuth(405, "invalid_request"),
        ),
        bad("/consent", "GET", "/consent", OAuth(405, "invalid_request")),
        bad("/consent", "POST", "/consent", Page(400)),
        post("/consent", FORM, "%%%=&&&", Page(400)),
        post("/consent", FORM, big(), Page(400)),
        callback("/callback"),
        callback("/callback?code=x&state=y"),
        callback("/callback?error=%00&state="),
        bad("/callback", "POST", "/callback", OAuth(405, "invalid_request")),
    ]
}

fn of_token_and_revoke() -> Vec<Bad> {
    const INVALID: Answer = OAuth(400, "invalid_request");
    const METHOD: Answer = OAuth(405, "invalid_request");
    const NO_FORM: Answer = OAuth(415, "invalid_request");
    let token = |body: &'static str, answer| post("/token", FORM, body, answer);
    vec![
        bad("/token", "GET", "/token", METHOD),
        bad("/token", "POST", "/token", NO_FORM),
        post("/token", JSON, "{}", NO_FORM),
        token("grant_type=password", INVALID),
        token("grant_type=authorization_code&code=%ff%00", INVALID),
        token(
            "grant_type=refresh_token&refresh_token=x&client_id=y",
            OAuth(401, "invalid_client"),
        ),
        token("grant_type=refresh_token&grant_type=refresh_token", INVALID),
        post("/token", FORM, big(), OAuth(413, "invalid_request")),
        bad("/revoke", "GET", "/revoke", METHOD),
        bad("/revoke", "POST", "/revoke", NO_FORM),
        post("/revoke", JSON, "{}", NO_FORM),
        post("/revoke", FORM, "token=x&token=y", INVALID),
    ]
}

fn of_mcp() -> Vec<Bad> {
    const NO_JSON: Answer = JsonRpc(400, -32700);
    const NO_REQUEST: Answer = JsonRpc(400, -32600);
    let invalid_utf8 = b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}".to_vec();
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}"#;
    let method = r#"{"jsonrpc":"2.0","id":1,"method":7}"#;
    let params = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":7}"#;
    vec![
        bad("/mcp", "POST", "/mcp", Challenge),
        post("/mcp", JSON, "{", Challenge),
        post("/mcp", JSON, big(), Challenge),
        bad("/mcp", "GET", "/mcp", Challenge),
        bad("/mcp", "DELETE", "/mcp", Challenge),
        bad("/mcp", "PUT", "/mcp", JsonRpc(405, 405)),
        post("/mcp/", JSON, "{", Challenge),
        bad("/mcp/", "PUT", "/mcp/", JsonRpc(405, 405)),
        call(JSON, "", NO_JSON),
        call(JSON, "{", NO_JSON),
        call(JSON, invalid_utf8, NO_JSON),
        call(JSON, "[]", NO_REQUEST),
        call(JSON, "null", NO_REQUEST),
        call(JSON, batch, NO_REQUEST),
        call(JSON, deep(), NO_REQUEST),
        call("text/plain", "{}", JsonRpc(415, 415)),
        call(FORM, "a=b", JsonRpc(415, 415)),
        call(JSON, twice, JsonRpcOf1(400, -32600)),
        call(JSON, method, JsonRpcOf1(400, -32600)),
        call(JSON, params, JsonRpcOf1(400, -32602)),
    ]
}

/// The documents that discovery starts from.
const METADATA: [&str; 4] = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

async fn malformed_requests_get_their_exact_error_on_every_route(world: &World) -> TestResult {
    let table = table();
    for route in behalf_auth_sidecar::router::public_paths() {
        ensure!(
            table.iter().any(|row| row.route == route),
            "route {route} is missing from the table"
        );
    }
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        // A refusal may close its connection, so connections are not used again.
        .pool_max_idle_per_host(0)
        .build()?;
    for server in Server::ALL {
        restarting_nothing(world, server, async || {
            let base = world.layout.public_url(server);
            let token = world.access_token(server, &ANA).await?;
            let mut problems = Vec::new();
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
                if let Err(problem) = check(request, row.answer).await {
                    problems.push(format!(
                        "{} {} with {:.60?}: {}, expected {:?}",
                        row.method,
                        row.path,
                        String::from_utf8_lossy(&row.body),
                        error_chain(problem.as_ref()),
                        row.answer
                    ));
                }
            }
            ensure!(problems.is_empty(), "{}: {}", server.name(), problems.join("; "));
            world.wait_ready(server).await?;
            Ok(())
        })
        .await?;
        nothing_panicked(world, &pod_of(world, server).await?).await?;
    }
    Ok(())
}

/// Sends a request and compares its answer.
async fn check(request: reqwest::RequestBuilder, expected: Answer) -> TestResult {
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let header = |name: HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let text = answer.text().await?;
    let told = || format!("answered {status}: {text:.200}");
    let challenge = header(WWW_AUTHENTICATE);
    // Only 401 has a challenge. Without a token the challenge has no error code (RFC 6750, section 3.1).
    ensure!(
        matches!(expected, Challenge) != challenge.is_empty(),
        "{} with the challenge {challenge:?}",
        told()
    );
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let error = &body["error"];
    let is_json_rpc = |code: i64| {
        let message = error["message"].as_str().unwrap_or_default();
        body["jsonrpc"] == "2.0" && error["code"] == code && !message.is_empty()
    };
    let matches = match expected {
        Page(expected) => status == expected && header(CONTENT_TYPE).starts_with("text/html"),
        OAuth(expected, code) => {
            let description = body["error_description"].as_str().unwrap_or_default();
            status == expected && error == code && !description.is_empty()
        }
        JsonRpc(expected, code) => status == expected && is_json_rpc(code) && body.get("id").is_none(),
        JsonRpcOf1(expected, code) => status == expected && is_json_rpc(code) && body["id"] == 1,
        Challenge => {
            status == 401
                && is_json_rpc(401)
                && challenge.starts_with("Bearer ")
                && challenge.contains("resource_metadata=\"")
                && !challenge.contains("error=")
        }
    };
    ensure!(matches, "{}", told());
    Ok(())
}

/// A panic that was caught restarts nothing, but the log contains it.
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
