//! Errors of requests to Entra.

use std::sync::Arc;
use std::time::Duration;

use crate::assertion::AssertionError;
use crate::discovery::DiscoveryError;
use crate::next_step::NextStep;
use crate::pause;
use crate::reason::{FederationFinding, FederationReason, SignInReason};
use crate::refusal::Refusal;

/// Why a request to Entra brought no usable answer. `Clone`, because callers that waited for one request share
/// its failure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EntraError {
    /// The projected token cannot be used; nothing was sent.
    #[error("the federated token cannot be used as client assertion")]
    Assertion(#[source] AssertionError),

    /// The authority's discovery document names another issuer; nothing was sent.
    #[error("the authority's discovery document cannot be trusted")]
    Discovery(#[source] DiscoveryError),

    /// The connection failed or broke.
    #[error("failed to reach Entra")]
    Unreachable(#[source] Arc<reqwest::Error>),

    /// Entra did not answer within the time limit.
    #[error("Entra did not answer in time")]
    TimedOut,

    /// Entra answered 429.
    #[error("Entra limits the rate of requests")]
    Throttled {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },

    /// Entra answered 5xx or 408.
    #[error("Entra is unavailable (HTTP {status})")]
    Unavailable {
        /// The HTTP status.
        status: u16,

        /// `Retry-After`.
        retry_after: Option<Duration>,
    },

    /// No request was sent, because the pause after an earlier failure or refusal of the client has not ended.
    #[error("no request was sent to Entra: the pause after an earlier failure has not ended")]
    Paused {
        /// The rest of the pause.
        after: Duration,

        /// The answer that began the pause.
        #[source]
        cause: Arc<EntraError>,
    },

    /// Entra answered with an error body of RFC 6749.
    #[error("Entra refused: {0}")]
    Refused(Box<Refusal>),

    /// An answer that is not of the protocol, for example a page of a proxy.
    #[error("Entra's answer (HTTP {status}) is not what the protocol says: {what}")]
    Malformed {
        /// The HTTP status.
        status: u16,

        /// The fault in the answer.
        what: &'static str,
    },
}

impl EntraError {
    /// Decides what to do, from `error`, `suberror` and the presence of `claims`.
    pub fn next_step(&self) -> NextStep {
        match self {
            Self::Assertion(_) | Self::Discovery(_) => NextStep::ClientAuthentication,
            Self::Unreachable(_) | Self::TimedOut | Self::Malformed { .. } => {
                NextStep::RetryLater { after: None }
            }
            Self::Throttled { retry_after } | Self::Unavailable { retry_after, .. } => {
                NextStep::RetryLater { after: *retry_after }
            }
            Self::Paused { cause, .. } if cause.refuses_the_client() => NextStep::ClientAuthentication,
            Self::Paused { after, .. } => NextStep::RetryLater { after: Some(*after) },
            Self::Refused(refusal) => refusal.next_step(),
        }
    }

    /// Returns a short name of the kind of error, for metrics and traces: the code of Entra's refusal, or the name of
    /// the variant.
    pub fn kind(&self) -> String {
        match self {
            Self::Assertion(_) => "assertion".to_owned(),
            Self::Discovery(_) => "discovery".to_owned(),
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::TimedOut => "timed_out".to_owned(),
            Self::Throttled { .. } => "throttled".to_owned(),
            Self::Unavailable { status, .. } => status.to_string(),
            Self::Paused { .. } => "paused".to_owned(),
            Self::Refused(refusal) => match refusal.codes.first() {
                Some(code) => format!("AADSTS{code}"),
                None => "refused".to_owned(),
            },
            Self::Malformed { .. } => "malformed".to_owned(),
        }
    }

    /// Returns the reason for the condition `FederationVerified`. `None` if the error says nothing about the
    /// federation.
    pub fn reason(&self) -> Option<FederationReason> {
        match self {
            Self::Assertion(AssertionError::ChainedFederation { .. }) => {
                Some(FederationReason::ChainedFederation)
            }
            Self::Assertion(_) => Some(FederationReason::WrongAssertion),
            Self::Discovery(_) => Some(FederationReason::TenantNotFound),
            Self::Unreachable(_) | Self::TimedOut | Self::Unavailable { .. } | Self::Malformed { .. } => {
                Some(FederationReason::Unreachable)
            }
            Self::Throttled { .. } => Some(FederationReason::Throttled),
            Self::Paused { cause, .. } => cause.reason(),
            Self::Refused(refusal) => refusal.federation_reason(),
        }
    }

    /// Returns the finding of a failed probe about the federation.
    pub fn federation_finding(&self) -> FederationFinding {
        if let Self::Refused(refusal) = self {
            return refusal.federation_finding();
        }
        let reason = self.reason().unwrap_or(FederationReason::Unknown);
        FederationFinding {
            verdict: reason.verdict(),
            reason,
        }
    }

    /// Returns why Entra refused the sign-in. `None` if its number is unknown.
    pub fn sign_in_reason(&self) -> Option<SignInReason> {
        self.refusal()?.sign_in_reason()
    }

    /// Returns one sentence for the user: what to do next, and who must do it.
    pub fn hint(&self) -> &'static str {
        if let Some(reason) = self.sign_in_reason() {
            return reason.hint();
        }
        match self.next_step() {
            NextStep::SignInAgain { .. } => "Sign in again.",
            NextStep::Blocked => {
                "Your organization does not allow this: give an administrator the correlation id, signing in \
                 again does not help."
            }
            NextStep::ClientAuthentication => {
                "Entra does not accept this server as the application: an administrator has to look at its \
                 condition FederationVerified."
            }
            NextStep::RetryLater { .. } => "Entra cannot answer at the moment: try again later.",
            NextStep::OurBug => {
                "Entra could not make sense of the request: give an administrator the correlation id."
            }
        }
    }

    /// Returns the refusal of Entra, if it sent one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// True if Entra refused this process as the application. The refusal applies to every user.
    pub(crate) fn refuses_the_client(&self) -> bool {
        self.refusal().is_some_and(Refusal::refuses_the_client)
    }

    /// True when the same request may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::Throttled { .. } | Self::Unavailable { .. } => true,
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Assertion(_) | Self::Discovery(_) | Self::Paused { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Returns the pause before the next request after this failure: `Retry-After`, at least 15 seconds and
    /// at most ten minutes.
    pub fn pause(&self) -> Duration {
        match self {
            Self::Paused { after, .. } => *after,
            _ => pause::length(self.retry_after()),
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Paused { after, .. } => Some(*after),
            Self::Throttled { retry_after } | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    pub(crate) fn transport(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Unreachable(Arc::new(error.without_url()))
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::reason::Verdict;

    fn chained() -> EntraError {
        let issuer = "https://sts.windows.net/t/".to_owned();
        EntraError::Assertion(AssertionError::ChainedFederation { issuer })
    }

    fn foreign_issuer() -> EntraError {
        EntraError::Discovery(DiscoveryError::Issuer {
            expected: "a".to_owned(),
            found: "b".to_owned(),
        })
    }

    #[rstest]
    #[case(chained(), FederationReason::ChainedFederation, Verdict::False)]
    #[case(
        EntraError::Assertion(AssertionError::NotAToken { path: "/token".into() }),
        FederationReason::WrongAssertion,
        Verdict::False
    )]
    #[case(foreign_issuer(), FederationReason::TenantNotFound, Verdict::False)]
    #[case(EntraError::TimedOut, FederationReason::Unreachable, Verdict::Unknown)]
    #[case(EntraError::Throttled { retry_after: None }, FederationReason::Throttled, Verdict::Unknown)]
    #[case(
        EntraError::Unavailable { status: 503, retry_after: None },
        FederationReason::Unreachable,
        Verdict::Unknown
    )]
    #[case(EntraError::Malformed { status: 200, what: "x" }, FederationReason::Unreachable, Verdict::Unknown)]
    fn a_failed_probe_has_a_reason(
        #[case] error: EntraError,
        #[case] reason: FederationReason,
        #[case] verdict: Verdict,
    ) {
        assert_eq!(error.reason(), Some(reason));
        assert_eq!(error.federation_finding(), FederationFinding { verdict, reason });
    }

    #[test]
    fn an_outage_has_a_pause() {
        let after = Some(Duration::from_secs(7));
        assert_eq!(
            EntraError::Throttled { retry_after: after }.next_step(),
            NextStep::RetryLater { after }
        );
        assert_eq!(
            EntraError::Unavailable {
                status: 502,
                retry_after: after
            }
            .next_step(),
            NextStep::RetryLater { after }
        );
        assert_eq!(
            EntraError::TimedOut.next_step(),
            NextStep::RetryLater { after: None }
        );
    }

    #[test]
    fn a_failure_that_an_administrator_must_fix_is_not_retried() {
        for error in [chained(), foreign_issuer()] {
            assert_eq!(error.next_step(), NextStep::ClientAuthentication);
            assert!(!error.is_transient());
        }
    }
}
