//! Shows what an administrator does to a running server: rotates its keys, which ends no session, and ends one session.

use std::fmt;
use std::time::{Duration, Instant};

use behalf_simulators::people::BEN;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::calls::{call, sign_in, tools};
use super::sign_in::same_or_another;
use super::{DemoError, Running, SignIn};
use crate::environment::{Conditions, Layout, NAMESPACE_SERVERS, Server, wait_for};
use crate::mcp_client::{Era, call_with_token};

/// Maximum time of a rotation: the kubelet updates the mounted Secret, and every Pod reports the new key.
const ROTATED: Duration = Duration::from_mins(4);

/// The tool of all calls.
const TOOL: &str = "list_pipeline_runs";

/// A rotation of the keys and the end of a session, with a call after each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Administration {
    /// The sign-in, with a call before and a call after the rotation.
    pub sign_in: SignIn,

    /// The key that sealed before the rotation.
    pub key_before: String,

    /// The key that seals after it.
    pub key_after: String,

    /// Duration of the rotation in seconds.
    pub rotation_seconds: f64,

    /// Whether the client used the same access token for both calls.
    pub same_access_token: bool,

    /// The session that the administrator ended.
    pub ended_session: String,

    /// HTTP status of the call after that.
    pub status_after_end: u16,
}

impl fmt::Display for Administration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.sign_in)?;
        let token = same_or_another(self.same_access_token);
        writeln!(
            out,
            "    kubectl annotate ... behalf.dev/rotate-keys: key {} sealed before the second call, key {} after {:.0} s;\n    \
             the second call used {token} access token",
            self.key_before, self.key_after, self.rotation_seconds
        )?;
        writeln!(
            out,
            "    behalf-auth-sidecar admin sessions revoke {}: the next call was answered {}",
            self.ended_session, self.status_after_end
        )
    }
}

/// Signs Ben in at the article's server, rotates its keys between two calls, and then ends his session.
pub(super) async fn play(running: &Running, layout: &Layout) -> Result<Administration, DemoError> {
    let server = Server::Article;
    let (signed_in, mut entry) = sign_in(layout, server, &BEN).await?;
    let connection = signed_in.connect(Era::Modern).await?;
    entry.tools = tools(&connection).await?;
    let token = || async { signed_in.manager().lock().await.get_access_token().await.ok() };
    let arguments = json!({"project": "shop", "top": 1});

    let token_before = token().await.unwrap_or_default();
    entry
        .calls
        .push(call(&connection, TOOL, arguments.clone()).await?);
    let began = Instant::now();
    let (key_before, key_after) = rotate_keys(running, server).await?;
    let rotation_seconds = began.elapsed().as_secs_f64();
    entry.calls.push(call(&connection, TOOL, arguments).await?);
    let same_access_token = token().await.as_deref() == Some(token_before.as_str());
    connection.close().await;

    let ended_session = end_session(running, server, &token_before)?;
    let status_after_end = call_with_token(&layout.mcp_url(server), &token_before)
        .await?
        .status();
    if status_after_end != StatusCode::UNAUTHORIZED {
        return Err(DemoError::SessionGoesOn(status_after_end));
    }
    Ok(Administration {
        sign_in: entry,
        key_before,
        key_after,
        rotation_seconds,
        same_access_token,
        ended_session,
        status_after_end: status_after_end.as_u16(),
    })
}

/// Requests a rotation and waits until another key seals. Returns the keys that sealed before and after.
async fn rotate_keys(running: &Running, server: Server) -> Result<(String, String), DemoError> {
    let before = sealing_key(&Conditions::read(&running.client, server.name()).await?);
    let request = format!("behalf.dev/rotate-keys=after {before}");
    let arguments = ["annotate", "mcpserver", server.name(), "--overwrite", &request];
    kubectl(running, &arguments, None)?;
    let what = "status.keys.current: another key";
    let rotated = |conditions: &Conditions| sealing_key(conditions) != before;
    let conditions = wait_for(&running.client, server.name(), what, ROTATED, |_| (), rotated).await?;
    let after = sealing_key(&conditions);
    Ok((before, after))
}

fn sealing_key(conditions: &Conditions) -> String {
    let key = conditions.status.pointer("/keys/current").and_then(Value::as_str);
    key.unwrap_or_default().to_owned()
}

/// Ends the session of an access token with the sidecar's administration commands. Returns the id of the session.
fn end_session(running: &Running, server: Server, access_token: &str) -> Result<String, DemoError> {
    let introspection = admin(
        running,
        server,
        &["introspect", "--output", "json"],
        Some(access_token),
    )?;
    let introspection: Value = serde_json::from_str(&introspection).unwrap_or_default();
    let session = introspection.get("sid").and_then(Value::as_str);
    let session = session.ok_or(DemoError::NoSession)?.to_owned();
    admin(running, server, &["sessions", "revoke", &session], None)?;
    Ok(session)
}

fn admin(
    running: &Running,
    server: Server,
    command: &[&str],
    input: Option<&str>,
) -> Result<String, DemoError> {
    let deployment = format!("deployment/{}", server.name());
    let mut arguments = vec![
        "exec",
        "--stdin",
        &deployment,
        "--container",
        "auth-sidecar",
        "--",
    ];
    arguments.extend(["behalf-auth-sidecar", "admin"]);
    arguments.extend(command);
    kubectl(running, &arguments, input)
}

fn kubectl(running: &Running, arguments: &[&str], input: Option<&str>) -> Result<String, DemoError> {
    let mut all = vec!["--namespace", NAMESPACE_SERVERS];
    all.extend(arguments);
    Ok(running.cluster.kubectl_with(&all, input.unwrap_or_default())?)
}
