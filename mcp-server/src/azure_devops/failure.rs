//! Why a call to Azure DevOps fails, in sentences that a model can act on.

use std::time::Duration;

use crate::token::NoToken;

/// Why a call fails. The text reaches the model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The user has no token that Azure DevOps accepts.
    #[error(transparent)]
    NoToken(#[from] NoToken),

    /// Azure DevOps throttles the user for longer than a call waits.
    #[error("Azure DevOps is limiting this user's requests; {}", try_again(*.after))]
    Throttled { after: Option<Duration> },

    /// The service is down, and repeated requests failed.
    #[error("Azure DevOps is not available (HTTP {status}); {}", try_again(*.after))]
    Unavailable { status: u16, after: Option<Duration> },

    /// No connection was made, or it broke. The source is for the log.
    #[error(
        "Azure DevOps could not be reached; try again in a minute, and tell an administrator if that does not help"
    )]
    Unreachable(#[source] reqwest::Error),

    /// The service did not answer within the time limit of a request or of the call.
    #[error("Azure DevOps did not answer in time; try again, and ask for less if that is possible")]
    TimedOut,

    /// A write was sent, and its answer is missing or unreadable.
    #[error(
        "it is not known whether Azure DevOps queued the run: its answer is missing; check with list_pipeline_runs before trying again"
    )]
    OutcomeUnknown,

    /// The organization belongs to another tenant than the user's token (VS30063).
    #[error("{}", tenant_mismatch(.organization, .tenant.as_deref()))]
    TenantMismatch {
        organization: String,
        tenant: Option<String>,
    },

    /// The user has never opened Azure DevOps in a browser (TF401444).
    #[error(
        "this user has never opened Azure DevOps: open https://dev.azure.com/{organization} in a browser once and try again"
    )]
    NeverSignedIn { organization: String },

    /// The project does not exist, or is hidden from the user. The service does not tell which.
    #[error(
        "there is no project {project:?} in the organization {organization:?}, or this user has no access to it; check the name, or ask an administrator of the project for access"
    )]
    NoProject { organization: String, project: String },

    /// The run, log or pipeline does not exist, or is hidden from the user.
    #[error("{what} was not found, or this user has no access to it{}", quoted(.message.as_deref()))]
    NotFound { what: String, message: Option<String> },

    /// The user lacks a permission.
    #[error("Azure DevOps refused: this user lacks a permission, which an administrator of the project can grant{}", quoted(.message.as_deref()))]
    Denied { message: Option<String> },

    /// The service rejected a parameter, or a pipeline file that does not parse.
    #[error("Azure DevOps did not accept the request (HTTP {status}){}", quoted(.message.as_deref()))]
    Invalid { status: u16, message: Option<String> },

    /// The answer exceeds the size limit of one answer.
    #[error("the answer of Azure DevOps is too large to read; ask for less")]
    TooLarge,

    /// The answers in progress use all memory for answers, or the part of one user.
    #[error(
        "the answers of Azure DevOps that this server is reading use all memory for answers; try again in a few seconds, with fewer calls at once, and ask for less if that is possible"
    )]
    NoMemory,

    /// The answer does not have the shape that the API documents. Contains what is wrong.
    #[error("the answer of Azure DevOps could not be read ({0}); tell an administrator")]
    Malformed(&'static str),
}

fn try_again(after: Option<Duration>) -> String {
    match after.map(|after| after.as_secs().max(1)) {
        Some(seconds) => format!("try again in {seconds} seconds"),
        None => "try again in a minute".to_owned(),
    }
}

fn quoted(message: Option<&str>) -> String {
    message
        .map(|message| format!(". Azure DevOps says: {message:?}"))
        .unwrap_or_default()
}

fn tenant_mismatch(organization: &str, tenant: Option<&str>) -> String {
    let home = tenant.map(|tenant| format!(" ({tenant})")).unwrap_or_default();
    format!(
        "the signed-in account is not known in the tenant{home} of the organization {organization:?}: sign in \
         with an account of that tenant, or ask an administrator to connect this server to it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_to_try_again() {
        let after = Some(Duration::from_millis(90_500));
        assert!(
            Failure::Throttled { after }
                .to_string()
                .ends_with("try again in 90 seconds")
        );
        assert!(
            Failure::Throttled { after: None }
                .to_string()
                .ends_with("try again in a minute")
        );
    }

    #[test]
    fn quotes_the_message_of_the_service() {
        let failure = Failure::Denied {
            message: Some("needs Queue builds permissions".to_owned()),
        };
        assert!(
            failure
                .to_string()
                .ends_with("says: \"needs Queue builds permissions\"")
        );
    }
}
