//! Why a call to Azure DevOps came to nothing, in sentences that a model can act on.

use std::time::Duration;

use crate::token::Refused;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no token, or none that the service takes.
    #[error(transparent)]
    Refused(#[from] Refused),

    /// The user's budget is used up for longer than a call may wait.
    #[error("Azure DevOps is limiting this user's requests; {}", try_again(*.after))]
    Throttled { after: Option<Duration> },

    /// The service is down, also after some tries.
    #[error("Azure DevOps is not available (HTTP {status}); {}", try_again(*.after))]
    Unavailable { status: u16, after: Option<Duration> },

    /// No connection, or it broke. The source is for the log.
    #[error(
        "Azure DevOps could not be reached; try again in a minute, and tell an administrator if that does not help"
    )]
    Unreachable(#[source] reqwest::Error),

    /// No answer in time.
    #[error("Azure DevOps did not answer in time; try again, and ask for less if that is possible")]
    TimedOut,

    /// A write went out and no answer came back.
    #[error(
        "it is not known whether Azure DevOps queued the run: no answer came; look with list_pipeline_runs before trying again"
    )]
    OutcomeUnknown,

    /// The organisation is in another tenant than the user's token.
    #[error("{}", tenant_mismatch(.organization, .tenant.as_deref()))]
    TenantMismatch {
        organization: String,
        tenant: Option<String>,
    },

    /// The user has never opened Azure DevOps.
    #[error(
        "this user has never opened Azure DevOps: open https://dev.azure.com/{organization} in a browser once and try again"
    )]
    NeverSignedIn { organization: String },

    /// Hidden or absent project.
    #[error(
        "there is no project {project:?} in the organization {organization:?}, or this user has no access to it"
    )]
    NoProject { organization: String, project: String },

    /// Hidden or absent thing.
    #[error("{what} was not found, or this user has no access to it{}", said(.message.as_deref()))]
    NotFound { what: String, message: Option<String> },

    /// A permission is missing.
    #[error("Azure DevOps refused: this user lacks a permission, which an administrator of the project can grant{}", said(.message.as_deref()))]
    Denied { message: Option<String> },

    /// The service did not understand the request.
    #[error("Azure DevOps did not accept the request (HTTP {status}){}", said(.message.as_deref()))]
    Invalid { status: u16, message: Option<String> },

    /// An answer longer than anything that can be used.
    #[error("the answer of Azure DevOps is too large to read; ask for less")]
    TooLarge,

    /// The answers of all calls together use up the memory for answers.
    #[error(
        "this server is reading as much of Azure DevOps as it has memory for; try again in a few seconds, with fewer calls at once, and ask for less if that is possible"
    )]
    NoRoom,

    /// An answer that is not what the API says.
    #[error("the answer of Azure DevOps could not be understood ({0}); tell an administrator")]
    Malformed(&'static str),
}

fn try_again(after: Option<Duration>) -> String {
    match after.map(|after| after.as_secs().max(1)) {
        Some(seconds) => format!("try again in {seconds} seconds"),
        None => "try again in a minute".to_owned(),
    }
}

fn said(message: Option<&str>) -> String {
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
    fn quotes_what_the_service_says() {
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
