//! The meaning of a refusal, from the fields of RFC 6749 and from Entra's AADSTS numbers.

use super::Refusal;
use crate::codes::{self, Meaning};
use crate::next_step::NextStep;
use crate::reason::{FederationFinding, FederationReason, SignInReason, Verdict};

impl Refusal {
    /// Returns the next step of the caller.
    pub fn next_step(&self) -> NextStep {
        match self.meaning() {
            Some(Meaning::Transient | Meaning::SignIn(SignInReason::LoopDetected)) => {
                return self.retry_later();
            }
            Some(Meaning::SignIn(reason)) if reason.blocks(self.claims.is_some()) => {
                return NextStep::Blocked;
            }
            Some(Meaning::Federation(_)) => return NextStep::ClientAuthentication,
            _ => {}
        }
        if self.suberror.as_deref() == Some("message_only") {
            return NextStep::Blocked;
        }
        match self.error.as_str() {
            "temporarily_unavailable" | "server_error" => self.retry_later(),
            "invalid_client" | "unauthorized_client" => NextStep::ClientAuthentication,
            "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
                NextStep::SignInAgain {
                    claims: self.claims.clone(),
                    consent: self.wants_consent(),
                }
            }
            "access_denied" => NextStep::Blocked,
            _ => NextStep::OurBug,
        }
    }

    /// Returns the reason for the user. `None` if no number concerns a sign-in.
    pub fn sign_in_reason(&self) -> Option<SignInReason> {
        match self.meaning() {
            Some(Meaning::SignIn(reason)) => Some(reason),
            _ if self.wants_consent() => Some(SignInReason::ConsentRequired),
            _ => None,
        }
    }

    /// Returns the finding about the federation. A refusal of the client without a known number still means that
    /// Entra does not accept this process as the application.
    pub fn federation_finding(&self) -> FederationFinding {
        if let Some(reason) = self.federation_reason() {
            return FederationFinding {
                verdict: reason.verdict(),
                reason,
            };
        }
        if self.is_transient() {
            return FederationFinding {
                verdict: Verdict::Unknown,
                reason: FederationReason::Unreachable,
            };
        }
        let refused = matches!(self.error.as_str(), "invalid_client" | "unauthorized_client");
        let verdict = if refused { Verdict::False } else { Verdict::Unknown };
        FederationFinding {
            verdict,
            reason: FederationReason::Unknown,
        }
    }

    pub(crate) fn federation_reason(&self) -> Option<FederationReason> {
        match self.meaning()? {
            Meaning::Federation(reason) => Some(reason),
            Meaning::SignIn(SignInReason::PolicyBlocked | SignInReason::TokenProtection) => {
                Some(FederationReason::PolicyBlocked)
            }
            Meaning::Transient => Some(FederationReason::Unreachable),
            Meaning::SignIn(_) | Meaning::OurBug => None,
        }
    }

    /// True if the refusal concerns the client's authentication. `unauthorized_client` without a known number does
    /// not: it may concern one grant or one user.
    pub(crate) fn refuses_the_client(&self) -> bool {
        match self.meaning() {
            Some(Meaning::Federation(reason)) => !matches!(
                reason,
                FederationReason::ResourceNotFound
                    | FederationReason::AppNotAssigned
                    // Entra could not read the issuer's keys. The next request may succeed.
                    | FederationReason::IssuerUnreachable
            ),
            Some(Meaning::SignIn(_) | Meaning::Transient) => false,
            Some(Meaning::OurBug) | None => self.error == "invalid_client",
        }
    }

    /// True when the same request may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self.meaning() {
            Some(Meaning::Transient | Meaning::Federation(FederationReason::IssuerUnreachable)) => true,
            Some(Meaning::SignIn(SignInReason::LoopDetected)) => false,
            _ => self.error == "temporarily_unavailable",
        }
    }

    /// True if Entra refused the user's token as On-Behalf-Of assertion. An exchange with a renewed token may
    /// then succeed without a login.
    pub fn user_token_refused(&self) -> bool {
        self.sign_in_reason() == Some(SignInReason::UserTokenStale)
    }

    fn meaning(&self) -> Option<Meaning> {
        self.codes.iter().copied().find_map(codes::meaning)
    }

    fn wants_consent(&self) -> bool {
        self.suberror.as_deref() == Some("consent_required") || self.error == "consent_required"
    }

    fn retry_later(&self) -> NextStep {
        NextStep::RetryLater {
            after: self.retry_after,
        }
    }
}

#[cfg(test)]
mod tests;
