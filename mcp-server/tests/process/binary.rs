//! Starts the binary, with a simulated `az` in its path.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use behalf_contract::{ExchangePlace, Injection};
use serde_json::json;
use tokio::io::{BufReader, Lines};
use tokio::process::{Child, Command};

use crate::support::World;

const BINARY: &str = env!("CARGO_BIN_EXE_behalf-mcp-server");

/// A folder with an `az` that runs `script`.
pub(crate) fn az(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("az");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// An `az` that gives `token` and counts how often it was asked.
pub(crate) fn az_with(token: &str) -> tempfile::TempDir {
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

pub(crate) fn asked(folder: &tempfile::TempDir) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path().join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn command(world: &World, path: &Path, arguments: &[&str]) -> Command {
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

/// A message whose hidden JSON overflows the stack of a parser that also parses embedded text.
pub(crate) fn hostile() -> String {
    let hidden = behalf_simulators::embedded_json::nested(247_000);
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{hidden}}}}}"#)
}

pub(crate) async fn first_line(
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

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().build().unwrap()
}

pub(crate) fn stop(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
}
