//! The last result of each probe, for `/status`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use behalf_contract::{FederationReport, HandshakeReport, Outcome, Reason, TenantReport};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{federation, handshake};

/// Maximum number of answers to users of which a part is kept at the same time, at most 64 KiB of each, until it is known
/// whether the answer contains a result.
const WATCHED_ANSWERS: usize = 16;

/// Number of consecutive requests for the tenant without an answer after which the last answer of Azure DevOps no longer counts. The
/// third request is sent about 30 s after the first, or later if Azure DevOps asks for a pause.
const UNANSWERED: u32 = 3;

/// Azure DevOps' last answer.
#[derive(Debug, Default)]
struct Tenant {
    /// `None` until the first answer.
    report: Option<TenantReport>,

    /// Number of requests since then that got no answer.
    unanswered: u32,
}

/// Keeps the last result of each probe.
#[derive(Debug)]
pub struct ProbeResults {
    federation: Mutex<FederationReport>,
    handshake: Mutex<HandshakeReport>,

    tenant: Mutex<Tenant>,

    /// Set when a user's request got a result. Cleared when the server refuses a user's token, or when a handshake no longer
    /// needs one.
    has_answered_user: AtomicBool,

    /// Whether the result of the handshake is that the server requires a user's token, and no user has got a result yet.
    /// It repeats `handshake` without its lock.
    awaits_user: AtomicBool,

    /// The server has given out an `Mcp-Session-Id`.
    is_stateful: AtomicBool,

    /// One permit for each further answer of which a part may be kept, of [`WATCHED_ANSWERS`].
    watches: Arc<Semaphore>,
}

impl Default for ProbeResults {
    fn default() -> Self {
        Self {
            federation: Mutex::new(federation::pending()),
            handshake: Mutex::new(handshake::pending()),
            tenant: Mutex::default(),
            has_answered_user: AtomicBool::new(false),
            awaits_user: AtomicBool::new(false),
            is_stateful: AtomicBool::new(false),
            watches: Arc::new(Semaphore::new(WATCHED_ANSWERS)),
        }
    }
}

impl ProbeResults {
    /// Replaces the result of the federation probe. Returns true if the outcome or the reason changed.
    pub fn publish_federation(&self, report: FederationReport) -> bool {
        let mut current = self.federation.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = (current.outcome, &current.reason) != (report.outcome, &report.reason);
        *current = report;
        changed
    }

    /// Replaces the result of the handshake probe. Returns true if the outcome or the reason changed. A server that requires
    /// a user is verified if it has answered one.
    pub fn publish_handshake(&self, mut report: HandshakeReport) -> bool {
        let mut current = self.handshake.lock().unwrap_or_else(PoisonError::into_inner);
        if requires_user(&report) {
            if self.has_answered_user.load(Ordering::Relaxed) {
                verify(&mut report);
            }
        } else {
            self.has_answered_user.store(false, Ordering::Relaxed);
        }
        self.awaits_user.store(requires_user(&report), Ordering::Relaxed);
        let changed = (current.outcome, &current.reason) != (report.outcome, &report.reason);
        *current = report;
        changed
    }

    /// Replaces the answer of Azure DevOps. Returns true if it changed: another tenant is named in the message alone.
    ///
    /// The tenant of an organization hardly ever changes. So an answer stays until several consecutive questions got none.
    pub fn publish_tenant(&self, report: &TenantReport) -> bool {
        let mut current = self.tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let is_answered = |report: &TenantReport| report.outcome != Outcome::Unknown;
        current.unanswered = if is_answered(report) {
            0
        } else {
            current.unanswered.saturating_add(1)
        };
        let has_answer = current.report.as_ref().is_some_and(is_answered);
        if has_answer && (1..UNANSWERED).contains(&current.unanswered) {
            return false;
        }
        let same = |before: &TenantReport| {
            (before.outcome, &before.reason) == (report.outcome, &report.reason)
                && (before.message == report.message || !is_answered(report))
        };
        let changed = !current.report.as_ref().is_some_and(same);
        current.report = Some(report.clone());
        changed
    }

    /// True if the result says that the server requires a user, and no user has been answered yet. Each call asks, so that it
    /// takes no lock.
    pub fn awaits_user(&self) -> bool {
        self.awaits_user.load(Ordering::Relaxed)
    }

    /// Permits to keep a part of one answer. `None` while parts of too many are kept.
    pub(super) fn watch_answer(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.watches).try_acquire_owned().ok()
    }

    /// Records that the server answered a request that carried a user's token with a result. It counts while the server
    /// requires a user: an answer from before says nothing about a server that refuses the handshake now.
    pub fn user_answered(&self) {
        let mut current = self.handshake.lock().unwrap_or_else(PoisonError::into_inner);
        if requires_user(&current) {
            self.has_answered_user.store(true, Ordering::Relaxed);
            self.awaits_user.store(false, Ordering::Relaxed);
            verify(&mut current);
        }
    }

    /// Records that the server refused a request that carried a user's token. The next probe reports a server that requires
    /// a user as not verified, until it answers one again.
    pub fn user_refused(&self) {
        self.has_answered_user.store(false, Ordering::Relaxed);
    }

    /// Records that the server has given out an `Mcp-Session-Id`, to a probe or to a user.
    pub fn server_is_stateful(&self) {
        self.is_stateful.store(true, Ordering::Relaxed);
    }

    /// Returns the last result of the federation probe.
    pub fn federation(&self) -> FederationReport {
        self.federation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the last answer of Azure DevOps.
    pub fn tenant(&self) -> Option<TenantReport> {
        let tenant = self.tenant.lock().unwrap_or_else(PoisonError::into_inner);
        tenant.report.clone()
    }

    /// Returns the last result of the handshake probe.
    pub fn handshake(&self) -> HandshakeReport {
        let current = self.handshake.lock().unwrap_or_else(PoisonError::into_inner);
        HandshakeReport {
            is_stateful: self.is_stateful.load(Ordering::Relaxed),
            ..current.clone()
        }
    }
}

/// True if the server refuses a handshake without a user's token.
fn requires_user(report: &HandshakeReport) -> bool {
    report.reason == Reason::AuthRequired.as_str()
}

fn verify(report: &mut HandshakeReport) {
    report.outcome = Outcome::Verified;
    Reason::UserAnswered.as_str().clone_into(&mut report.reason);
    "The server requires a user's token for the handshake, and has answered a user."
        .clone_into(&mut report.message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::HandshakeError;

    fn requires_a_user() -> HandshakeReport {
        let answer = Err(HandshakeError::AuthRequired { method: "initialize" });
        handshake::report(&answer, false, jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_server_that_requires_a_user_is_verified_by_its_answer_to_one_until_a_probe_fails() {
        let results = ProbeResults::default();
        let reason = || (results.handshake().outcome, results.handshake().reason);
        let unknown = (Outcome::Unknown, "AuthRequired".to_owned());
        let verified = (Outcome::Verified, "UserAnswered".to_owned());
        results.publish_handshake(requires_a_user());
        assert_eq!(reason(), unknown);
        results.user_answered();
        assert_eq!(reason(), verified, "at once");
        assert!(
            !results.publish_handshake(requires_a_user()),
            "the next probe changes nothing"
        );
        assert_eq!(reason(), verified);

        let gone = Err(HandshakeError::TimedOut);
        results.publish_handshake(handshake::report(&gone, false, jiff::Timestamp::UNIX_EPOCH));
        results.publish_handshake(requires_a_user());
        assert_eq!(reason(), unknown, "after a failure a user must be answered again");
    }

    #[test]
    fn a_server_that_refuses_users_as_well_is_not_verified() {
        let results = ProbeResults::default();
        results.publish_handshake(requires_a_user());
        results.user_answered();
        results.user_refused();
        assert!(results.publish_handshake(requires_a_user()));
        assert_eq!(results.handshake().outcome, Outcome::Unknown);
    }

    #[test]
    fn an_answer_from_before_the_server_required_a_user_does_not_count() {
        let results = ProbeResults::default();
        results.user_answered();
        results.publish_handshake(requires_a_user());
        assert_eq!(results.handshake().outcome, Outcome::Unknown);
    }

    #[test]
    fn an_answer_to_a_user_changes_no_other_result() {
        let results = ProbeResults::default();
        let gone = Err(HandshakeError::TimedOut);
        results.publish_handshake(handshake::report(&gone, false, jiff::Timestamp::UNIX_EPOCH));
        results.user_answered();
        assert_eq!(results.handshake().outcome, Outcome::Failed);
    }

    fn tenant(outcome: Outcome, message: &str) -> TenantReport {
        TenantReport {
            outcome,
            reason: "AReason".to_owned(),
            message: message.to_owned(),
            observed_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_tenant_stays_until_the_third_question_in_a_row_without_an_answer() {
        let results = ProbeResults::default();
        let outcome = || results.tenant().map(|report| report.outcome);
        let silent = tenant(Outcome::Unknown, "no answer");
        for answer in [Outcome::Verified, Outcome::Failed] {
            assert!(results.publish_tenant(&tenant(answer, "a tenant")));
            for _ in 0..2 {
                assert!(!results.publish_tenant(&silent));
                assert_eq!(outcome(), Some(answer));
            }
            assert!(
                !results.publish_tenant(&tenant(answer, "a tenant")),
                "the count begins again"
            );
            for _ in 0..2 {
                assert!(!results.publish_tenant(&silent));
                assert_eq!(outcome(), Some(answer));
            }
            assert!(results.publish_tenant(&silent));
            assert_eq!(outcome(), Some(Outcome::Unknown));
            assert!(!results.publish_tenant(&tenant(Outcome::Unknown, "another error")));
        }
        let new = ProbeResults::default();
        assert!(
            new.publish_tenant(&silent),
            "without an answer before, the first failure counts"
        );
    }

    #[test]
    fn another_wrong_tenant_in_place_of_a_wrong_one_is_a_change() {
        let results = ProbeResults::default();
        assert!(results.publish_tenant(&tenant(Outcome::Failed, "names the tenant a")));
        assert!(!results.publish_tenant(&tenant(Outcome::Failed, "names the tenant a")));
        assert!(results.publish_tenant(&tenant(Outcome::Failed, "names the tenant b")));
    }

    #[test]
    fn results_are_unknown_before_the_first_probe() {
        let results = ProbeResults::default();
        assert_eq!(results.federation().outcome, Outcome::Unknown);
        assert_eq!(results.federation().observed_at, None);
        assert_eq!(results.handshake().outcome, Outcome::Unknown);
        assert_eq!(results.handshake().server_info, None);
    }

    #[test]
    fn an_equal_result_is_no_change() {
        let results = ProbeResults::default();
        let mut report = federation::pending();
        report.outcome = Outcome::Failed;
        assert!(results.publish_federation(report.clone()));
        assert!(!results.publish_federation(report));
    }
}
