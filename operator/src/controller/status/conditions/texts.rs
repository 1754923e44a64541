//! Computes the texts of the conditions that Pods report, only from reasons and from fields of the plan.
//!
//! No part of a text comes from a Pod or from an earlier text, because administrators run the commands in
//! them.

use behalf_entra::FederationReason;

use super::Status;
use super::observed::Judged;
use crate::controller::status::running::Running;
use behalf_contract::Reason;

/// Text for a Pod whose token has a different issuer than the API server publishes.
pub(super) const OTHER_ISSUER: &str = "a Pod reports a token of another issuer than the API server's; if the API \
    server's issuer has changed, restart the Pod, else find out what runs in it";

const NOT_REPORTED: &str = "no Pod of the current configuration has reported yet";

/// Returns the text of a reason that every condition of a Pod may have.
fn common(judged: &Judged<'_>) -> Option<String> {
    match judged.reason {
        Reason::Suspended => Some("spec.suspend is true; nothing can be observed".to_owned()),
        Reason::NotObserved => Some(NOT_REPORTED.to_owned()),
        Reason::PodUnreachable => Some(format!(
            "the operator cannot read the Pod's status: {}; check network policies between the two",
            judged.unreachable.unwrap_or("it does not answer")
        )),
        _ => None,
    }
}

/// Returns the text of `FederationVerified`. `command` creates the credential.
pub(super) fn federation(
    judged: &Judged<'_>,
    running: Option<&Running>,
    client_id: Option<&str>,
    command: Option<&str>,
) -> String {
    if let Some(text) = common(judged) {
        return text;
    }
    let what = match judged.status {
        Status::True => return "Entra accepts this ServiceAccount's token as the application".to_owned(),
        Status::False => "Entra does not accept this ServiceAccount's token as the application.",
        Status::Unknown => "Whether Entra accepts this ServiceAccount's token cannot be told.",
    };
    let known = FederationReason::ALL
        .iter()
        .find(|known| known.as_str() == judged.reason.as_str())
        .filter(|known| !matches!(known, FederationReason::Unknown));
    let Some(known) = known else {
        return format!(
            "{what} The reason has no name here: read the log of container auth-sidecar, and look up the correlation \
             id that stands there in the sign-in logs of the tenant (service principal sign-ins)."
        );
    };
    let mut text = format!("{what} {}", known.fix());
    if let Some(running) = running {
        text = text.replace(
            "system:serviceaccount:<namespace>:<service account>",
            &running.subject,
        );
    }
    if let Some(client_id) = client_id {
        text = text.replace("<client id>", client_id);
    }
    if let Some(command) = command.filter(|_| wants_credential(judged.reason)) {
        text.push_str(" The command that creates the missing credential: ");
        text.push_str(command);
    }
    text
}

/// Returns whether the federated identity credential is wrong or missing, so that the command helps.
fn wants_credential(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::FicIssuerMismatch
            | Reason::FicAudienceMismatch
            | Reason::FicSubjectMismatch
            | Reason::FicCaseMismatch
            | Reason::FicNotFound
            | Reason::FederatedTokenSignature
    )
}

/// Returns the text of `Verified`.
pub(super) fn handshake(judged: &Judged<'_>) -> String {
    common(judged).unwrap_or_else(|| {
        let text = match judged.reason {
            Reason::HandshakeSucceeded => "the MCP server answered a handshake and listed its tools",
            Reason::ServerStarting => "the MCP server does not listen yet; it is asked again in a moment",
            Reason::ServerUnreachable => {
                "the MCP server does not listen on its port; read the log of container mcp-server"
            }
            Reason::ServerTimedOut => {
                "the MCP server did not finish a handshake in time; read the log of container mcp-server and check \
                 its resource limits"
            }
            Reason::AuthRequired => {
                "the MCP server answers only with a user's token; nothing is wrong if it is meant to, and whether it \
                 works shows with the first user's call"
            }
            Reason::ServerError => {
                "the MCP server answered the handshake with an error; read the log of container mcp-server"
            }
            Reason::NotMcp => {
                "the answer to the handshake is not MCP; the server must serve MCP over Streamable HTTP"
            }
            _ => {
                "the sidecar reports of the handshake a reason that has no name here; read the log of container \
                 auth-sidecar"
            }
        };
        text.to_owned()
    })
}

/// Returns the text of `UserSignIn`. `reported` is true if at least one Pod reports sign-ins.
pub(super) fn sign_in(judged: &Judged<'_>, reported: bool, client_id: Option<&str>) -> String {
    let client_id = client_id.unwrap_or("<client id>");
    match judged.reason {
        Reason::NotObserved if reported => "no user has signed in and called a tool yet".to_owned(),
        Reason::SignedIn => {
            "users sign in, and their tokens are exchanged where the sidecar does that".to_owned()
        }
        Reason::ConsentRequired | Reason::AdminConsentRequired => format!(
            "Entra refuses users, as the application's permissions are not granted; grant them for the tenant: \
             az ad app permission admin-consent --id {client_id}"
        ),
        Reason::PermissionMissing => format!(
            "Entra refuses users, as the app registration lacks a permission; add user_impersonation of Azure DevOps \
             to it, then run az ad app permission admin-consent --id {client_id}"
        ),
        Reason::AppMisconfigured => "users' tokens do not fit; set requestedAccessTokenVersion of the app \
                                     registration to 2, expose the scope access_as_user and allow User.Read"
            .to_owned(),
        _ => common(judged).unwrap_or_else(|| {
            "the sidecar reports of users' sign-ins a reason that has no name here; read the log of container \
             auth-sidecar"
                .to_owned()
        }),
    }
}
