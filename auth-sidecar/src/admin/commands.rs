//! `behalf-auth-sidecar admin`: the commands for `kubectl exec`.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use behalf_contract::paths;
use behalf_entra::Secret;
use clap::{Args, Subcommand};

use super::client::{AdminClient, AdminClientError};
use super::messages::SessionMessage;
use super::output::{self, Output};

/// Maximum length of a token that is read from the standard input. The sidecar's longest token has 1 KiB.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// Administer the sessions of this server. Run it in the container auth-sidecar with kubectl exec.
#[derive(Debug, Clone, Args)]
pub struct AdminArguments {
    /// The administration socket of the running sidecar.
    #[arg(long, value_name = "PATH", default_value = paths::ADMIN_SOCKET, global = true)]
    socket: PathBuf,

    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,

    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum AdminCommand {
    /// List and revoke sessions.
    #[command(subcommand)]
    Sessions(SessionsCommand),

    /// Show whether a token of this server is valid, and its user, client and session. Reads the token from standard input.
    Introspect,

    /// Make clients move to other Pods until this Pod stops. The kubelet runs it as preStop hook.
    Drain,
}

#[derive(Debug, Clone, Subcommand)]
enum SessionsCommand {
    /// List the sessions.
    List {
        /// Only the sessions of this user: the object id in Entra.
        #[arg(long, value_name = "OBJECT ID")]
        user: Option<String>,
    },

    /// Revoke one session, or all sessions of a user, in every Pod.
    Revoke {
        /// The session id, as sessions list prints it.
        #[arg(
            required_unless_present = "user",
            conflicts_with = "user",
            allow_hyphen_values = true
        )]
        session: Option<String>,

        /// All sessions of this user: the object id in Entra.
        #[arg(long, value_name = "OBJECT ID")]
        user: Option<String>,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminCommandError {
    /// The sidecar did not do it.
    #[error(transparent)]
    Client(#[from] AdminClientError),

    /// The standard input cannot be read.
    #[error("failed to read the token from the standard input; pipe it in, and pass -i to kubectl exec")]
    Input(#[source] io::Error),

    /// The standard input has no token.
    #[error("the standard input has no token; pipe it in, and pass -i to kubectl exec")]
    NoToken,

    /// The user of the revoked sessions may have more.
    #[error(
        "the last listing still found sessions of the user, who goes on signing in; block the user in Entra, or refuse the \
         user's logins with spec.sessions.revocations, then run the command again"
    )]
    Incomplete,

    /// The output cannot be written.
    #[error("failed to write the output")]
    Output(#[source] io::Error),
}

/// Runs a command. `input` and `out` are the standard input and output.
pub async fn run(
    arguments: &AdminArguments,
    input: impl Read + Send,
    out: &mut (impl Write + Send),
) -> Result<(), AdminCommandError> {
    let AdminArguments {
        socket,
        output,
        command,
    } = arguments;
    let (client, output) = (AdminClient::new(socket)?, *output);
    let written = match command {
        AdminCommand::Sessions(SessionsCommand::List { user }) => {
            let sessions = list(&client, user.as_deref()).await?;
            output::sessions(out, output, &sessions)
        }
        AdminCommand::Sessions(SessionsCommand::Revoke { session, user }) => {
            let message = match (session, user) {
                (_, Some(user)) => client.revoke_by_user(user).await?,
                (session, None) => {
                    client
                        .revoke_by_id(session.as_deref().unwrap_or_default())
                        .await?
                }
            };
            output::revoked(out, output, message).map_err(AdminCommandError::Output)?;
            if !message.complete {
                return Err(AdminCommandError::Incomplete);
            }
            Ok(())
        }
        AdminCommand::Introspect => {
            let answer = client.introspect(&read_token(input)?).await?;
            output::introspection(out, output, &answer)
        }
        AdminCommand::Drain => output::draining(out, output, client.drain().await?),
    };
    written.map_err(AdminCommandError::Output)
}

/// Returns every page of the list, the newest login first. A session may be in two pages.
async fn list(client: &AdminClient<'_>, user: Option<&str>) -> Result<Vec<SessionMessage>, AdminClientError> {
    let (mut sessions, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = client.list(user, cursor.as_deref()).await?;
        sessions.extend(page.sessions);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    sessions.sort_by(|one, other| (other.signed_in_at, &other.id).cmp(&(one.signed_in_at, &one.id)));
    sessions.dedup_by(|one, other| one.id == other.id);
    Ok(sessions)
}

fn read_token(input: impl Read) -> Result<Secret, AdminCommandError> {
    let mut text = String::new();
    input
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(AdminCommandError::Input)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(AdminCommandError::NoToken);
    }
    Ok(Secret::new(token))
}
