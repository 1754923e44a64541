//! The binary itself: on a laptop with a made-up Azure CLI, and as in a Pod.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "process/client_text.rs"]
mod client_text;
#[path = "process/connections.rs"]
mod connections;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use behalf_contract::{ExchangePlace, Injection, headers};
use behalf_simulators::azure_devops::{Action, Fault};
use serde_json::{Value, json};
use support::{HOST_KEY, World};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const BINARY: &str = env!("CARGO_BIN_EXE_behalf-mcp-server");

/// A folder with an `az` that runs `script`.
fn az(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("az");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// An `az` that gives `token` and counts how often it was asked.
fn az_with(token: &str) -> tempfile::TempDir {
    let answer = json!({
        "accessToken": token, "expiresOn": "2099-01-01 00:00:00.000000", "expires_on": 4_070_908_800_i64,
        "subscription": "s", "tenant": "t", "tokenType": "Bearer",
    });
    let folder = az("");
    let asked = folder.path().join("asked");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\ncat <<'END'\n{answer}\nEND\n",
        asked.display()
    );
    std::fs::write(folder.path().join("az"), script).unwrap();
    folder
}

fn asked(folder: &tempfile::TempDir) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path().join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn command(world: &World, path: &Path, arguments: &[&str]) -> Command {
    let endpoints = world
        .config(ExchangePlace::Sidecar, Injection::Header)
        .azure_dev_ops
        .endpoints;
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", path.display()))
        .env("BEHALF_CORE_ENDPOINT", endpoints.core.as_str())
        .env("BEHALF_RELEASE_ENDPOINT", endpoints.release.as_str())
        .env("BEHALF_IDENTITY_ENDPOINT", endpoints.identity.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A session on standard input and output.
struct Session {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Session {
    async fn start(world: &World, path: &Path) -> Self {
        let arguments = [
            "stdio",
            "--organization",
            "contoso",
            "--project",
            "shop",
            "--log",
            "trace",
        ];
        let mut child = command(world, path, &arguments).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut session = Self { child, input, output };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        assert_eq!(
            session.exchange(&hello).await["result"]["serverInfo"]["name"],
            "behalf-azure-devops"
        );
        session
            .write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        session
    }

    async fn write(&mut self, message: &Value) {
        self.input
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
        self.input.flush().await.unwrap();
    }

    /// Every line of standard output is a message.
    async fn exchange(&mut self, message: &Value) -> Value {
        self.write(message).await;
        let line = self.output.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a message: {line}"))
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.exchange(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
            .await
    }

    /// Closes standard input; gives what was logged.
    async fn end(self) -> (bool, String) {
        let Self { child, input, output } = self;
        drop((input, output));
        let ended = child.wait_with_output().await.unwrap();
        (ended.status.success(), String::from_utf8(ended.stderr).unwrap())
    }
}

#[tokio::test]
async fn stdio_uses_the_azure_clis_login_and_asks_for_it_once() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let folder = az_with(&token);
    let mut session = Session::start(&world, folder.path()).await;
    for _ in 0..2 {
        let answer = session.call("list_pipeline_runs", json!({"top": 1})).await;
        assert_eq!(
            answer["result"]["structuredContent"]["runs"]
                .as_array()
                .unwrap()
                .len(),
            1,
            "{answer}"
        );
    }
    let (success, logged) = session.end().await;
    assert!(success, "{logged}");
    assert!(!logged.contains(&token));
    assert!(
        logged.contains("behalf_mcp_server"),
        "nothing was logged: {logged}"
    );
    let asked = asked(&folder);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(
        asked[0].contains("499b84ac-1321-427f-aa17-267ca6975798/.default"),
        "{asked:?}"
    );
}

/// A message whose hidden JSON overflows the stack of a parser that also parses embedded text.
fn hostile() -> String {
    let hidden = behalf_simulators::embedded_json::nested(247_000);
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{hidden}}}}}"#)
}

#[tokio::test]
async fn stdio_refuses_json_hidden_in_json_and_goes_on() {
    let world = World::start().await;
    let folder = az_with(&world.azure_token("ana").await);
    let mut session = Session::start(&world, folder.path()).await;
    session
        .input
        .write_all(format!("{}\n", hostile()).as_bytes())
        .await
        .unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    let refused = session.exchange(&ping).await;
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    let line = session.output.next_line().await.unwrap().unwrap();
    let answered: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answered["id"], 2, "{answered}");
    let behind_a_mark = format!("\u{feff}{}\n", hostile());
    session.input.write_all(behind_a_mark.as_bytes()).await.unwrap();
    let line = session.output.next_line().await.unwrap().unwrap();
    let refused: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    session.end().await;
}

#[tokio::test]
async fn a_refused_login_is_fetched_anew_once() {
    let world = World::start().await;
    let folder = az_with(&world.user_token("ana").await); // not for Azure DevOps
    let mut session = Session::start(&world, folder.path()).await;
    let answer = session.call("list_pipeline_runs", json!({})).await;
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("`az login`"), "{text}");
    assert_eq!(asked(&folder).len(), 2);
    session.end().await;
}

#[tokio::test]
async fn without_the_azure_cli_or_its_login_it_says_what_to_do() {
    let world = World::start().await;
    for (folder, expected) in [
        (tempfile::tempdir().unwrap(), "not installed"),
        (
            az("echo \"Please run 'az login' to setup account.\" >&2; exit 1"),
            "not signed in",
        ),
        (az("echo 'nonsense'"), "gave no token"),
    ] {
        let mut session = Session::start(&world, folder.path()).await;
        let answer = session.call("list_pipeline_runs", json!({})).await;
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(expected) && text.contains("az "), "{text}");
        session.end().await;
    }
}

#[tokio::test]
async fn http_on_a_laptop_is_for_this_machine_alone() {
    let world = World::start().await;
    let folder = az_with(&world.azure_token("ana").await);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:3000"] {
        let arguments = ["http", "--organization", "contoso", "--listen", address];
        let ended = command(&world, folder.path(), &arguments).output().await.unwrap();
        let logged = String::from_utf8(ended.stderr).unwrap();
        assert!(
            !ended.status.success() && logged.contains("no open mode"),
            "{address}: {logged}"
        );
    }

    let arguments = [
        "http",
        "--organization",
        "contoso",
        "--project",
        "shop",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut child = command(&world, folder.path(), &arguments).spawn().unwrap();
    let logged = first_line(BufReader::new(child.stderr.take().unwrap()).lines(), "at http://").await;
    let address = logged
        .split("at ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let http = client();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let post = |origin: Option<&str>, host: Option<&str>| {
        let mut request = http
            .post(&address)
            .header("accept", "application/json, text/event-stream")
            .json(&list);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(host) = host {
            request = request.header("host", host);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(post(None, None).await, 200);
    assert_eq!(post(Some("http://localhost:6274"), None).await, 200);
    assert_eq!(post(Some("https://evil.example"), None).await, 403);
    assert_eq!(post(None, Some("evil.example")).await, 403);
    for body in [
        hostile(),
        "{".to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#.to_owned(),
    ] {
        let request = http
            .post(&address)
            .header("content-type", "application/json")
            .body(body);
        let answer = request
            .header("accept", "application/json, text/event-stream")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(answer["error"]["code"].is_i64(), "{answer}");
    }
    assert_eq!(post(None, None).await, 200, "and it goes on");
    stop(&child);
    assert!(child.wait().await.unwrap().success());
}

/// A running server, configured as in a Pod.
struct PodProcess {
    child: Child,
    /// The addresses of its ports.
    mcp: String,
    probes: String,
    _folder: tempfile::TempDir,
}

impl PodProcess {
    async fn start(world: &World) -> Self {
        let mut config = world.config(ExchangePlace::Sidecar, Injection::Header);
        config.listen.mcp = "127.0.0.1:0".parse().unwrap();
        config.listen.probes = "127.0.0.1:0".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.yaml");
        std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
        let arguments = ["serve", "--config", file.to_str().unwrap()];
        let mut child = command(world, folder.path(), &arguments).spawn().unwrap();
        let logged = first_line(BufReader::new(child.stdout.take().unwrap()).lines(), "probes at").await;
        let logged: Value = serde_json::from_str(&logged).unwrap();
        let message = logged["message"].as_str().unwrap();
        let mut addresses = message
            .split([' ', ','])
            .filter(|word| word.starts_with("127.0.0.1:"))
            .map(str::to_owned);
        let (mcp, probes) = (addresses.next().unwrap(), addresses.next().unwrap());
        Self {
            child,
            mcp,
            probes,
            _folder: folder,
        }
    }
}

#[tokio::test]
async fn a_pod_finishes_its_calls_before_it_stops() {
    let world = World::start().await;
    let PodProcess {
        mut child,
        mcp,
        probes,
        ..
    } = PodProcess::start(&world).await;
    let http = client();
    let ready = http.get(format!("http://{probes}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(
        http.post(format!("http://{probes}/mcp"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );

    world
        .azure()
        .fault(&Fault::once(Action::Delay {
            milliseconds: 1_500,
            retry_after_seconds: None,
        }))
        .await
        .unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_pipeline_runs", "arguments": {"top": 1}}});
    let request = http
        .post(format!("http://{mcp}/mcp"))
        .header("accept", "application/json, text/event-stream")
        .header(headers::HOST_KEY, HOST_KEY)
        .bearer_auth(world.azure_token("ana").await)
        .json(&call);
    let answer = tokio::spawn(request.send());
    // The call has begun when the service has heard of it.
    while world.azure().record().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    stop(&child);
    let answer: Value = answer.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_pod_that_lacks_something_says_what_and_ends() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.yaml");
    let mut config = world.config(ExchangePlace::Server, Injection::Header);
    std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
    let arguments = ["serve", "--config", file.to_str().unwrap()];
    let run = || async {
        let ended = command(&world, folder.path(), &arguments).output().await.unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(run().await.contains("AZURE_FEDERATED_TOKEN_FILE"));

    config = world.config(ExchangePlace::Sidecar, Injection::Header);
    config.host_key_file = folder.path().join("absent");
    std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
    assert!(run().await.contains("auth sidecar writes it"));

    std::fs::remove_file(&file).unwrap();
    assert!(run().await.contains("the operator mounts it there"));
}

async fn first_line(
    mut lines: Lines<BufReader<impl tokio::io::AsyncRead + Unpin + Send + 'static>>,
    with: &str,
) -> String {
    let mut seen = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains(with) {
            // The pipe must stay open, or the next line the server logs would fail.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return line;
        }
        seen += &line;
    }
    panic!("the server ended: {seen}");
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().build().unwrap()
}

fn stop(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
}
