//! The results of users' sign-ins and token exchanges, for the condition `UserSignIn`.
//!
//! Only Entra's answer for a user shows whether the application's permissions are granted and its registration
//! is correct: the federation probe has no user. A failure that concerns one user alone (an assignment, a
//! policy, a refused consent) does not count. The findings contain no data of users.

use std::sync::{Arc, Mutex, PoisonError};

use behalf_contract::{Outcome, Reason, SignInReport};
use behalf_entra::{Clock, EntraError, SignInReason, TokenRejection};
use jiff::Timestamp;

use crate::observe::sentence::capitalised;

/// Keeps the last finding of each step. A failure of a step stays until the same step succeeds: a login can
/// succeed although Entra refuses the exchange of the user's token.
pub struct SignIns {
    clock: Arc<dyn Clock>,
    exchanges: bool,
    findings: Mutex<Findings>,
}

#[derive(Debug, Default)]
struct Findings {
    login: Option<Finding>,
    exchange: Option<Finding>,

    /// The last success of a step that had failed before. It makes an earlier report of the failure obsolete.
    recovered_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Finding {
    at: Timestamp,
    failure: Option<SignInFailure>,
}

#[derive(Debug)]
struct SignInFailure {
    reason: SignInReason,

    /// One sentence that tells the administrator the cause and the next step.
    message: String,

    /// Entra's correlation id, as in the tenant's sign-in logs.
    correlation_id: Option<String>,
}

impl SignIns {
    /// Starts without findings. `exchanges` is true when this sidecar exchanges users' tokens. Then a login alone
    /// does not verify the application.
    pub fn new(clock: Arc<dyn Clock>, exchanges: bool) -> Self {
        Self {
            clock,
            exchanges,
            findings: Mutex::default(),
        }
    }

    /// Records that a user signed in.
    pub fn login_succeeded(&self) {
        self.record(|findings| &mut findings.login, None);
    }

    /// Records that Entra refused the code of a login.
    pub fn login_refused(&self, error: &EntraError) {
        self.record_entra_refusal(|findings| &mut findings.login, error);
    }

    /// Records that the tokens of a login do not match the configured application.
    pub fn login_rejected(&self, rejection: &TokenRejection) {
        self.record_failure(
            |findings| &mut findings.login,
            rejection.sign_in_reason(),
            &rejection.to_string(),
            None,
        );
    }

    /// Records that Entra exchanged a user's token.
    pub fn exchange_succeeded(&self) {
        self.record(|findings| &mut findings.exchange, None);
    }

    /// Records that Entra refused to exchange a user's token.
    pub fn exchange_refused(&self, error: &EntraError) {
        self.record_entra_refusal(|findings| &mut findings.exchange, error);
    }

    /// Returns the status to publish.
    pub fn report(&self) -> SignInReport {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = [&findings.login, &findings.exchange].into_iter().flatten();
        let failures = steps.filter_map(|finding| Some((finding.at, finding.failure.as_ref()?)));
        if let Some((at, failure)) = failures.max_by_key(|(at, _)| *at) {
            return SignInReport {
                outcome: Outcome::Failed,
                reason: failure.reason.as_str().to_owned(),
                message: failure.message.clone(),
                correlation_id: failure.correlation_id.clone(),
                observed_at: Some(at),
            };
        }
        let last = if self.exchanges {
            &findings.exchange
        } else {
            &findings.login
        };
        match last {
            Some(Finding { at, .. }) => SignInReport {
                outcome: Outcome::Verified,
                reason: Reason::SignedIn.as_str().to_owned(),
                message: if self.exchanges {
                    "Users can sign in, and Entra exchanges their tokens."
                } else {
                    "Users can sign in."
                }
                .to_owned(),
                correlation_id: None,
                observed_at: Some(*at),
            },
            None => SignInReport {
                outcome: Outcome::Unknown,
                reason: Reason::NotObserved.as_str().to_owned(),
                message: "No user has signed in and called a tool yet.".to_owned(),
                correlation_id: None,
                observed_at: findings.recovered_at,
            },
        }
    }

    fn record_entra_refusal(
        &self,
        step: impl FnOnce(&mut Findings) -> &mut Option<Finding>,
        error: &EntraError,
    ) {
        let refusal = error.refusal();
        let correlation_id = refusal.and_then(|refusal| refusal.correlation_id.clone());
        let said = refusal.map_or_else(
            || error.to_string(),
            |refusal| {
                let codes = refusal.codes.iter().map(|code| format!(" AADSTS{code}"));
                format!("Entra refused ({}{})", refusal.error, codes.collect::<String>())
            },
        );
        self.record_failure(step, error.sign_in_reason(), &said, correlation_id);
    }

    /// Records a failure unless it concerns one user alone (no reason, or a reason without a fix).
    fn record_failure(
        &self,
        step: impl FnOnce(&mut Findings) -> &mut Option<Finding>,
        reason: Option<SignInReason>,
        said: &str,
        correlation_id: Option<String>,
    ) {
        if let Some(reason) = reason
            && let Some(fix) = reason.fix()
        {
            let failure = SignInFailure {
                reason,
                message: format!("{}. {fix}", capitalised(said)),
                correlation_id,
            };
            self.record(step, Some(failure));
        }
    }

    fn record(
        &self,
        step: impl FnOnce(&mut Findings) -> &mut Option<Finding>,
        failure: Option<SignInFailure>,
    ) {
        let at = self.clock.now();
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_success = failure.is_none();
        let before = step(&mut findings).replace(Finding { at, failure });
        if is_success && before.is_some_and(|before| before.failure.is_some()) {
            findings.recovered_at = Some(at);
        }
    }
}

impl std::fmt::Debug for SignIns {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SignIns")
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::{FixedClock, Refusal};
    use rstest::rstest;

    use super::*;

    fn sign_ins() -> SignIns {
        SignIns::new(Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH)), true)
    }

    fn error(code: u32) -> EntraError {
        let description = format!("AADSTS{code}: Something about ana@contoso.example.");
        EntraError::Refused(Box::new(Refusal::from_redirect(
            "invalid_grant",
            Some(&description),
        )))
    }

    fn outcome_and_reason(sign_ins: &SignIns) -> (Outcome, String) {
        let report = sign_ins.report();
        (report.outcome, report.reason)
    }

    #[test]
    fn the_outcome_is_unknown_before_the_first_user() {
        let report = sign_ins().report();
        assert_eq!((report.outcome, report.observed_at), (Outcome::Unknown, None));
    }

    #[rstest]
    #[case(65_001, "ConsentRequired")]
    #[case(90_094, "AdminConsentRequired")]
    #[case(650_057, "PermissionMissing")]
    #[case(500_131, "AppMisconfigured")]
    fn a_refusal_that_every_user_may_get_is_a_failure_with_its_fix(#[case] code: u32, #[case] reason: &str) {
        let sign_ins = sign_ins();
        sign_ins.login_succeeded();
        sign_ins.exchange_refused(&error(code));
        assert_eq!(
            outcome_and_reason(&sign_ins),
            (Outcome::Failed, reason.to_owned())
        );
        let message = sign_ins.report().message;
        assert!(message.contains(&format!("AADSTS{code}")), "{message}");
        assert!(!message.contains("ana@contoso.example"), "{message}");
    }

    #[rstest]
    #[case::unassigned(50_105)]
    #[case::declined(65_004)]
    #[case::multi_factor(50_076)]
    #[case::policy(53_003)]
    #[case::ended(700_082)]
    #[case::federation(700_213)]
    #[case::unknown(1)]
    fn a_refusal_that_concerns_one_user_changes_nothing(#[case] code: u32) {
        let sign_ins = sign_ins();
        sign_ins.login_refused(&error(code));
        assert_eq!(outcome_and_reason(&sign_ins).0, Outcome::Unknown);
        sign_ins.exchange_succeeded();
        sign_ins.exchange_refused(&error(code));
        assert_eq!(
            outcome_and_reason(&sign_ins),
            (Outcome::Verified, "SignedIn".to_owned())
        );
    }

    #[test]
    fn a_login_alone_verifies_the_application_only_without_exchanges() {
        let sign_ins = sign_ins();
        sign_ins.login_succeeded();
        assert_eq!(outcome_and_reason(&sign_ins).0, Outcome::Unknown);
        assert_eq!(sign_ins.report().observed_at, None);
        let elsewhere = SignIns::new(Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH)), false);
        elsewhere.login_succeeded();
        assert_eq!(
            outcome_and_reason(&elsewhere),
            (Outcome::Verified, "SignedIn".to_owned())
        );
    }

    #[test]
    fn a_fixed_login_ends_its_failure_before_the_next_exchange() {
        let sign_ins = sign_ins();
        sign_ins.login_refused(&error(650_057));
        assert_eq!(outcome_and_reason(&sign_ins).0, Outcome::Failed);
        sign_ins.login_succeeded();
        let report = sign_ins.report();
        assert_eq!(report.outcome, Outcome::Unknown);
        assert!(report.observed_at.is_some(), "the failure no longer stands");
    }

    #[test]
    fn an_outage_changes_nothing() {
        let sign_ins = sign_ins();
        sign_ins.login_refused(&EntraError::TimedOut);
        assert_eq!(outcome_and_reason(&sign_ins).0, Outcome::Unknown);
    }

    #[test]
    fn a_failed_exchange_stands_until_an_exchange_succeeds() {
        let sign_ins = sign_ins();
        sign_ins.exchange_refused(&error(65_001));
        sign_ins.login_succeeded();
        assert_eq!(outcome_and_reason(&sign_ins).0, Outcome::Failed);
        sign_ins.exchange_succeeded();
        assert_eq!(
            outcome_and_reason(&sign_ins),
            (Outcome::Verified, "SignedIn".to_owned())
        );
    }

    #[test]
    fn tokens_of_version_1_show_a_registration_that_does_not_fit() {
        let sign_ins = sign_ins();
        sign_ins.login_rejected(&TokenRejection::Version);
        assert_eq!(
            outcome_and_reason(&sign_ins),
            (Outcome::Failed, "AppMisconfigured".to_owned())
        );
        sign_ins.login_succeeded();
        sign_ins.exchange_succeeded();
        sign_ins.login_rejected(&TokenRejection::Nonce);
        assert_eq!(outcome_and_reason(&sign_ins).0, Outcome::Verified);
    }
}
