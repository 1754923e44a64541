//! Probes whether Entra accepts this Pod's `ServiceAccount` token as the application.
//!
//! The probe is a client-credentials request, which needs no user. It requests the scope of the downstream API, or of
//! Microsoft Graph if there is none: if the application requires assignment, Entra refuses a token for the application
//! itself (AADSTS501051) although the federation works.

use behalf_contract::{FederationReport, Outcome, Reason, SidecarConfig};
use behalf_entra::{AssertionClaims, EntraClient, EntraError, FederationReason, NextStep, Verdict};
use behalf_runtime::error_chain;
use jiff::Timestamp;

use super::schedule::Pace;
use super::sentence::capitalised;

/// Microsoft Graph. Every tenant has it, and its application id is the same in all clouds.
const GRAPH_SCOPE: &str = "00000003-0000-0000-c000-000000000000/.default";

/// Sends the probe to Entra.
#[derive(Debug, Clone)]
pub struct FederationProbe {
    entra: EntraClient,
    scope: String,
}

impl FederationProbe {
    /// Creates the probe of the configured application.
    pub fn new(entra: EntraClient, config: &SidecarConfig) -> Self {
        let scope = config.token_exchange.scope.as_deref().unwrap_or(GRAPH_SCOPE);
        Self {
            entra,
            scope: scope.to_owned(),
        }
    }

    /// Sends one probe. Returns its result and the claims of the assertion. Drops the token that Entra issues.
    pub async fn run(&self) -> (Result<(), EntraError>, Option<AssertionClaims>) {
        // If the kubelet replaces the file between the two reads, only the times in the claims differ.
        let claims = self.entra.assertion().claims().ok();
        (self.entra.client_credentials(&self.scope).await, claims)
    }
}

/// Returns the status before the first probe has ended.
pub fn pending() -> FederationReport {
    FederationReport {
        outcome: Outcome::Unknown,
        reason: Reason::NotObserved.as_str().to_owned(),
        message: "No probe of the federation has ended yet.".to_owned(),
        correlation_id: None,
        issuer: None,
        subject: None,
        audience: None,
        observed_at: None,
    }
}

/// Returns the status after a probe.
pub fn report(
    answer: &Result<(), EntraError>,
    claims: Option<AssertionClaims>,
    now: Timestamp,
) -> FederationReport {
    let (outcome, reason, message) = match answer {
        Ok(()) => (
            Outcome::Verified,
            Reason::TokenAccepted.as_str(),
            "Entra accepts this ServiceAccount's token as the application.".to_owned(),
        ),
        Err(error) => {
            let finding = error.federation_finding();
            let outcome = match finding.verdict {
                Verdict::False => Outcome::Failed,
                Verdict::Unknown => Outcome::Unknown,
            };
            (
                outcome,
                finding.reason.as_str(),
                format!("{}. {}", capitalised(&what_happened(error)), finding.reason.fix()),
            )
        }
    };
    let (issuer, subject, audience) = match claims {
        Some(claims) => (
            Some(claims.issuer),
            Some(claims.subject),
            Some(claims.audience.join(" ")),
        ),
        None => (None, None, None),
    };
    FederationReport {
        outcome,
        reason: reason.to_owned(),
        message,
        correlation_id: correlation_id(answer.as_ref().err()),
        issuer,
        subject,
        audience: audience.filter(|audience| !audience.is_empty()),
        observed_at: Some(now),
    }
}

/// Returns the pace of the next probe.
pub fn pace(answer: &Result<(), EntraError>, failures_before: u32) -> Pace {
    let Err(error) = answer else { return Pace::Settled };
    if matches!(
        error.federation_finding().reason,
        FederationReason::PolicyBlocked | FederationReason::AppNotAssigned
    ) {
        // An administrator decided this and rarely changes it within a minute. Frequent probes would only fill
        // the tenant's sign-in logs.
        return Pace::Settled;
    }
    let at_least = match error.next_step() {
        NextStep::RetryLater { after } => after,
        _ => None,
    };
    Pace::Broken {
        failures: failures_before.saturating_add(1),
        at_least,
    }
}

fn correlation_id(error: Option<&EntraError>) -> Option<String> {
    error?.refusal()?.correlation_id.clone()
}

fn what_happened(error: &EntraError) -> String {
    if let Some(refusal) = error.refusal() {
        let said = if refusal.description_first_line.is_empty() {
            &refusal.error
        } else {
            &refusal.description_first_line
        };
        return format!("Entra refused ({})", said.trim_end_matches('.'));
    }
    // The causes contain the path of the file or the network error.
    error_chain(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn claims() -> AssertionClaims {
        AssertionClaims {
            issuer: "https://issuer.contoso.example/".to_owned(),
            subject: "system:serviceaccount:mcp:azure-devops".to_owned(),
            audience: vec!["api://AzureADTokenExchange".to_owned()],
            expires_at: None,
        }
    }

    #[test]
    fn an_accepted_token_is_verified_and_reported_with_its_claims() {
        let report = report(&Ok(()), Some(claims()), Timestamp::UNIX_EPOCH);
        assert_eq!(report.outcome, Outcome::Verified);
        assert_eq!(
            report.subject.as_deref(),
            Some("system:serviceaccount:mcp:azure-devops")
        );
        assert_eq!(report.observed_at, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(pace(&Ok(()), 7), Pace::Settled);
    }

    #[test]
    fn a_timeout_is_unknown_and_repeated_soon() {
        let answer = Err(EntraError::TimedOut);
        let report = report(&answer, Some(claims()), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (report.outcome, report.reason.as_str()),
            (Outcome::Unknown, "Unreachable")
        );
        assert_eq!(
            pace(&answer, 2),
            Pace::Broken {
                failures: 3,
                at_least: None
            }
        );
    }

    #[test]
    fn a_refusal_carries_its_correlation_id_as_a_field_and_not_in_its_message() {
        let mut refusal =
            behalf_entra::Refusal::from_redirect("invalid_client", Some("AADSTS700213: No match."));
        refusal.correlation_id = Some("7b2a0f00-0000-4000-8000-00000000abcd".to_owned());
        let answer = Err(EntraError::Refused(Box::new(refusal)));
        let report = report(&answer, None, Timestamp::UNIX_EPOCH);
        assert_eq!(
            report.correlation_id.as_deref(),
            Some("7b2a0f00-0000-4000-8000-00000000abcd")
        );
        assert!(!report.message.contains("7b2a"), "{}", report.message);
    }

    #[test]
    fn throttling_delays_the_next_probe_by_retry_after() {
        let wait = Some(Duration::from_secs(90));
        let answer = Err(EntraError::Throttled { retry_after: wait });
        assert_eq!(
            report(&answer, None, Timestamp::UNIX_EPOCH).outcome,
            Outcome::Unknown
        );
        assert_eq!(
            pace(&answer, 0),
            Pace::Broken {
                failures: 1,
                at_least: wait
            }
        );
    }
}
