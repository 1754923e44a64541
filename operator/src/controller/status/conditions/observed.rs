//! Computes conditions from the reports of the Pods of the current configuration.

use behalf_contract as contract;
use contract::StatusDocument;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Finding, Status, find, texts};
use crate::api::v1alpha1::{McpServerStatus, ServerInfo};
use crate::controller::dereference::dereferenced::{Found, PodReport};
use crate::controller::dereference::pod_reports::UNREACHABLE_AFTER;
use crate::controller::names;
use crate::controller::status::ConditionType;
use crate::controller::status::Facts;
use crate::controller::status::running::Running;
use behalf_contract::Reason;

/// The documents that count, and what was known before.
pub(in crate::controller::status) struct Observed<'a> {
    documents: Vec<&'a StatusDocument>,

    /// The error of a ready Pod that is silent for too long to wait.
    unreachable: Option<&'a str>,

    /// Whether a Pod's token names another issuer than the API server does.
    other_issuer: bool,
    suspended: bool,
    previous: &'a [Condition],

    /// The address and identity that the Pods run with; `None` if no Pods are known to run.
    running: Option<&'a Running>,

    /// The application of the accepted spec, never of what somebody wrote elsewhere.
    client_id: Option<&'a str>,

    /// What was seen before stands for what cannot be seen now, if it was seen at this generation or of the same
    /// Pod template. `None` if this generation is refused, which changes nothing that runs.
    generation: Option<i64>,

    /// Whether the previous status describes Pods of the current template. An edit that changes no Pod, or that
    /// is taken back after it was refused, leaves them as they are.
    same_template: bool,
}

impl<'a> Observed<'a> {
    /// Documents count only from Pods that were made from the current template and say that they run its
    /// configuration with the planned identity.
    pub(in crate::controller::status) fn of(
        facts: &'a Facts<'a>,
        found: &'a Found,
        previous: &'a McpServerStatus,
        generation: i64,
    ) -> Self {
        let template = facts.annotation(names::TEMPLATE_ANNOTATION);
        let digest = facts.annotation(names::SIDECAR_DIGEST_ANNOTATION);
        let current = |report: &&PodReport| template.is_some() && report.template.as_deref() == template;
        let running = facts.running.as_ref();
        let documents: Vec<&StatusDocument> = found
            .reports
            .iter()
            .filter(current)
            .filter_map(|report| report.document.as_ref().ok())
            .filter(|document| Some(document.configuration_digest.as_str()) == digest)
            .filter(|document| running.is_some_and(|running| fits(running, document)))
            .collect();
        let other_issuer = found.issuer.is_some()
            && documents.iter().any(|document| {
                document.federation.issuer.is_some() && document.federation.issuer != found.issuer
            });
        let unreachable = found
            .reports
            .iter()
            .filter(current)
            .filter(|report| report.ready && !found.blind)
            .filter_map(|report| report.document.as_ref().err())
            .find(|unread| unread.failures >= UNREACHABLE_AFTER)
            .map(|unread| unread.error.as_str());
        Self {
            documents,
            unreachable,
            other_issuer,
            suspended: facts.suspended(),
            // Where nothing is known to run, what the status said of it may be anybody's.
            running,
            previous: running.map_or(&[], |_| &previous.conditions),
            client_id: facts.plan.map(|plan| plan.entra.client_id.as_str()),
            generation: facts.plan.map(|_| generation),
            same_template: template.is_some() && previous.observed_template.as_deref() == template,
        }
    }

    /// `FederationVerified`.
    pub(in crate::controller::status) fn federation(&self, command: Option<&str>) -> Finding {
        let reports = self.documents.iter().map(|document| Seen {
            outcome: document.federation.outcome,
            reason: &document.federation.reason,
            conclusive: document.federation.observed_at.is_some(),
        });
        let judged = self.judge(ConditionType::FederationVerified, reports);
        let mut text = texts::federation(&judged, self.running, self.client_id, command);
        // The text does not contain the issuer: an administrator must not make Entra trust an issuer that a
        // Pod reports.
        if self.other_issuer && !self.suspended {
            text.push_str("; ");
            text.push_str(texts::OTHER_ISSUER);
        }
        judged.told(text)
    }

    /// `Verified`.
    pub(in crate::controller::status) fn handshake(&self) -> Finding {
        let reports = self.documents.iter().map(|document| Seen {
            outcome: document.handshake.outcome,
            reason: &document.handshake.reason,
            // A server on its way up says nothing about whether it works.
            conclusive: document.handshake.observed_at.is_some()
                && document.handshake.reason != Reason::ServerStarting.as_str(),
        });
        let judged = self.judge(ConditionType::Verified, reports);
        let text = texts::handshake(&judged);
        judged.told(text)
    }

    /// Judges `UserSignIn`. If Pods differ, the newest report counts, because a Pod without users observes no
    /// sign-ins.
    pub(in crate::controller::status) fn sign_in(&self) -> Finding {
        let reports = self
            .documents
            .iter()
            .filter_map(|document| document.sign_in.as_ref());
        let newest = reports.max_by_key(|report| report.observed_at);
        let reports = newest.iter().map(|report| Seen {
            outcome: report.outcome,
            reason: &report.reason,
            conclusive: report.observed_at.is_some(),
        });
        let judged = self.judge(ConditionType::UserSignIn, reports);
        let text = texts::sign_in(&judged, newest.is_some(), self.client_id);
        judged.told(text)
    }

    /// What the server said of itself, by the Pod that a handshake with was seen.
    pub(in crate::controller::status) fn server_info(&self) -> Option<ServerInfo> {
        self.documents.iter().find_map(|document| {
            let info = document.handshake.server_info.as_ref()?;
            Some(ServerInfo {
                name: cut(&info.name, 256),
                version: cut(&info.version, 256),
                protocol_version: cut(&info.protocol_version, 64),
                tools: i32::try_from(info.tools).unwrap_or(i32::MAX),
            })
        })
    }

    /// One failure is a failure; else one success is a success; else nobody knows.
    fn judge<'b>(&self, kind: ConditionType, reports: impl Iterator<Item = Seen<'b>>) -> Judged<'a> {
        if self.suspended {
            return Judged::new(Status::Unknown, Reason::Suspended);
        }
        let mut best: Option<Seen<'b>> = None;
        for report in reports.filter(|report| report.conclusive) {
            if best
                .as_ref()
                .is_none_or(|best| rank(report.outcome) > rank(best.outcome))
            {
                best = Some(report);
            }
        }
        if let Some(report) = best {
            let reason = Reason::parse(report.reason).unwrap_or(Reason::Unknown);
            return match report.outcome {
                contract::Outcome::Verified => Judged::new(Status::True, success(kind)),
                contract::Outcome::Failed => Judged::new(Status::False, reason),
                contract::Outcome::Unknown => Judged::new(Status::Unknown, reason),
            };
        }
        if let Some(error) = self.unreachable {
            return Judged {
                unreachable: Some(error),
                ..Judged::new(Status::Unknown, Reason::PodUnreachable)
            };
        }
        // The previous result stays valid while a Pod starts or after it is deleted. The text is computed
        // again.
        find(self.previous, kind)
            .filter(|before| {
                self.same_template
                    || self
                        .generation
                        .is_none_or(|generation| before.observed_generation == Some(generation))
            })
            .and_then(super::judgement)
            .filter(|(_, reason)| !matches!(reason, Reason::Suspended | Reason::PodUnreachable))
            .map_or_else(
                || Judged::new(Status::Unknown, Reason::NotObserved),
                |(status, reason)| Judged::new(status, reason),
            )
    }
}

/// Status and reason of a condition, before its text is computed.
pub(in crate::controller::status) struct Judged<'a> {
    pub(in crate::controller::status) status: Status,
    pub(in crate::controller::status) reason: Reason,

    /// With `PodUnreachable`: why the Pod's status could not be read.
    pub(in crate::controller::status) unreachable: Option<&'a str>,
}

impl Judged<'_> {
    fn new(status: Status, reason: Reason) -> Self {
        Self {
            status,
            reason,
            unreachable: None,
        }
    }

    fn told(&self, text: String) -> Finding {
        Finding::new(self.status, self.reason, text)
    }
}

/// Returns whether every identity in a document equals the one that the Pods were given.
fn fits(running: &Running, document: &StatusDocument) -> bool {
    let same = |said: &Option<String>, given: &str| said.as_deref().is_none_or(|said| said == given);
    same(&document.federation.subject, &running.subject)
        && same(&document.federation.audience, &running.audience)
}

/// One kind of report of one Pod.
struct Seen<'b> {
    outcome: contract::Outcome,
    reason: &'b str,

    /// Whether it was made from an observation at all.
    conclusive: bool,
}

/// The reason with which a condition of this type is True.
fn success(kind: ConditionType) -> Reason {
    match kind {
        ConditionType::Verified => Reason::HandshakeSucceeded,
        ConditionType::UserSignIn => Reason::SignedIn,
        _ => Reason::TokenAccepted,
    }
}

fn rank(outcome: contract::Outcome) -> u8 {
    match outcome {
        contract::Outcome::Unknown => 0,
        contract::Outcome::Verified => 1,
        contract::Outcome::Failed => 2,
    }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
