//! What the Pods of the current configuration report.

use behalf_contract as contract;
use contract::StatusDocument;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Facts;
use super::condition::{Finding, Status, find};
use crate::api::v1alpha1::{McpServerStatus, ServerInfo};
use crate::controller::found::{Found, PodReport};
use crate::controller::names;
use crate::controller::reason::{ConditionType, Reason};
use crate::controller::running::Running;
use crate::controller::sight::UNREACHABLE_AFTER;

/// The documents that count, and what was known before.
pub(super) struct Observed<'a> {
    documents: Vec<&'a StatusDocument>,

    /// The error of a ready Pod that is silent for too long to wait.
    unreachable: Option<&'a str>,

    /// Whether a Pod's token names another issuer than the API server does.
    other_issuer: bool,
    suspended: bool,
    previous: &'a [Condition],

    /// The application of the accepted spec, never of what somebody wrote elsewhere.
    client_id: Option<&'a str>,

    /// Only what was seen at this generation stands for what cannot be seen now.
    generation: Option<i64>,
}

impl<'a> Observed<'a> {
    /// Documents count only from Pods that were made from the current template and say that they run its
    /// configuration with the planned identity.
    pub(super) fn of(
        facts: &Facts<'a>,
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
            previous: running.map_or(&[], |_| &previous.conditions),
            client_id: facts.plan.map(|plan| plan.entra.client_id.as_str()),
            // A refused generation changes nothing that runs.
            generation: facts.plan.map(|_| generation),
        }
    }

    /// `FederationVerified`.
    pub(super) fn federation(&self, command: Option<&str>) -> Finding {
        let reports = self.documents.iter().map(|document| Seen {
            outcome: document.federation.outcome,
            reason: &document.federation.reason,
            message: &document.federation.message,
            conclusive: document.federation.observed_at.is_some(),
        });
        let mut seen = self.judge(
            ConditionType::FederationVerified,
            reports,
            |status, reason, said| match status {
                Status::True => "Entra accepts this ServiceAccount's token as the application".to_owned(),
                _ => match command.filter(|_| reason.wants_credential()) {
                    Some(command) => {
                        format!("{said}{THE_COMMAND}{command}")
                    }
                    None => said.to_owned(),
                },
            },
        );
        // Not the issuer itself: what a Pod says must not be taken for what Entra should trust. What an earlier
        // pass found may stand here again, with the remark.
        if self.other_issuer && !self.suspended && !seen.message.ends_with(OTHER_ISSUER) {
            let message = format!("{}; {OTHER_ISSUER}", seen.message);
            seen = Finding::new(seen.status, seen.reason, message);
        }
        self.keep_same_text(ConditionType::FederationVerified, seen)
    }

    /// `Verified`.
    pub(super) fn handshake(&self) -> Finding {
        let reports = self.documents.iter().map(|document| Seen {
            outcome: document.handshake.outcome,
            reason: &document.handshake.reason,
            message: &document.handshake.message,
            // A server on its way up says nothing about whether it works.
            conclusive: document.handshake.observed_at.is_some()
                && document.handshake.reason != Reason::ServerStarting.as_str(),
        });
        let seen = self.judge(ConditionType::Verified, reports, |status, _, said| match status {
            Status::True => "the MCP server answered a handshake and listed its tools".to_owned(),
            _ => said.to_owned(),
        });
        self.keep_same_text(ConditionType::Verified, seen)
    }

    /// `UserSignIn`: where Pods differ, the newest says it, since a Pod without users learns nothing new. The text
    /// is this operator's own, with the application that the spec names: people act on it.
    pub(super) fn sign_in(&self) -> Finding {
        let reports = self
            .documents
            .iter()
            .filter_map(|document| document.sign_in.as_ref());
        let newest = reports.max_by_key(|report| report.observed_at);
        let reports = newest.iter().map(|report| Seen {
            outcome: report.outcome,
            reason: &report.reason,
            message: "",
            conclusive: report.observed_at.is_some(),
        });
        let mut seen = self.judge(ConditionType::UserSignIn, reports, |_, _, _| String::new());
        let client_id = self.client_id.unwrap_or("<client id>");
        seen.message = match seen.reason {
            Reason::Suspended | Reason::PodUnreachable => seen.message,
            Reason::NotObserved if newest.is_none() => NOT_REPORTED.to_owned(),
            Reason::NotObserved => "no user has signed in and called a tool yet".to_owned(),
            Reason::SignedIn => {
                "users sign in, and their tokens are exchanged where the sidecar does that".to_owned()
            }
            Reason::ConsentRequired | Reason::AdminConsentRequired => format!(
                "Entra refuses users, as the application's permissions are not granted; grant them for the tenant: \
                 az ad app permission admin-consent --id {client_id}"
            ),
            Reason::PermissionMissing => format!(
                "Entra refuses users, as the app registration lacks a permission; add user_impersonation of Azure \
                 DevOps to it, then run az ad app permission admin-consent --id {client_id}"
            ),
            Reason::AppMisconfigured => "users' tokens do not fit; set requestedAccessTokenVersion of the app \
                                         registration to 2, expose the scope access_as_user and allow User.Read"
                .to_owned(),
            _ => "the sidecar tells of users' sign-ins what has no name here; read the log of container auth-sidecar"
                .to_owned(),
        };
        seen
    }

    /// What the server said of itself, by the Pod that a handshake with was seen.
    pub(super) fn server_info(&self) -> Option<ServerInfo> {
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
    fn judge<'b>(
        &self,
        kind: ConditionType,
        reports: impl Iterator<Item = Seen<'b>>,
        message: impl Fn(Status, Reason, &str) -> String,
    ) -> Finding {
        if self.suspended {
            return Finding::new(
                Status::Unknown,
                Reason::Suspended,
                "spec.suspend is true; nothing can be observed",
            );
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
            let (status, reason) = match report.outcome {
                contract::Outcome::Verified => (Status::True, success(kind)),
                contract::Outcome::Failed => (Status::False, reason),
                contract::Outcome::Unknown => (Status::Unknown, reason),
            };
            return Finding::new(
                status,
                reason,
                message(status, reason, &cut(report.message, 1024)),
            );
        }
        if let Some(error) = self.unreachable {
            return Finding::new(
                Status::Unknown,
                Reason::PodUnreachable,
                format!(
                    "the operator cannot read the Pod's status: {error}; check network policies between the two"
                ),
            );
        }
        // A Pod that starts, or that is gone, takes nothing back of what was seen.
        let before = find(self.previous, kind)
            .filter(|before| {
                self.generation
                    .is_none_or(|generation| before.observed_generation == Some(generation))
            })
            .and_then(Finding::of)
            .filter(|before| !matches!(before.reason, Reason::Suspended | Reason::PodUnreachable))
            .map(
                |Finding {
                     status,
                     reason,
                     message: said,
                 }| {
                    Finding::new(status, reason, message(status, reason, &without_commands(&said)))
                },
            );
        before.unwrap_or_else(|| Finding::new(Status::Unknown, Reason::NotObserved, NOT_REPORTED))
    }

    /// Each try of a broken thing has another correlation id and time; the first says as much as the last,
    /// and writing each would never settle.
    fn keep_same_text(&self, kind: ConditionType, mut finding: Finding) -> Finding {
        if let Some(before) = find(self.previous, kind).and_then(Finding::of)
            && (before.status, before.reason) == (finding.status, finding.reason)
            && without_numbers(&before.message) == without_numbers(&finding.message)
        {
            finding.message = before.message;
        }
        finding
    }
}

const NOT_REPORTED: &str = "no Pod of the current configuration has reported yet";

const OTHER_ISSUER: &str = "a Pod reports a token of another issuer than the API server's; if the API server's \
                            issuer has changed, restart the Pod, else find out what runs in it";

/// What an earlier pass said, up to the first command: it may have been altered since, and people run it.
fn without_commands(said: &str) -> String {
    let said = said.split_once(THE_COMMAND).map_or(said, |(said, _)| said);
    match said.split_once("az ") {
        Some((said, _)) => format!("{said}…"),
        None => said.to_owned(),
    }
}

/// Before the command that the operator itself computed.
const THE_COMMAND: &str = " The command that creates the missing credential: ";

/// Whether a document claims no other identity than the Pods were given.
fn fits(running: &Running, document: &StatusDocument) -> bool {
    let same = |said: &Option<String>, given: &str| said.as_deref().is_none_or(|said| said == given);
    same(&document.federation.subject, &running.subject)
        && same(&document.federation.audience, &running.audience)
}

/// One kind of report of one Pod.
struct Seen<'b> {
    outcome: contract::Outcome,
    reason: &'b str,
    message: &'b str,

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

/// The text without GUIDs and digits, up to the first command: what somebody runs is compared to the letter.
fn without_numbers(text: &str) -> String {
    let (said, commands) = text.split_at(text.find("az ").unwrap_or(text.len()));
    said.split_inclusive(|character: char| !character.is_ascii_hexdigit() && character != '-')
        .filter(|word| {
            word.trim_end_matches(|character: char| !character.is_ascii_hexdigit())
                .len()
                != 36
        })
        .flat_map(str::chars)
        .filter(|character| !character.is_ascii_digit())
        .chain(commands.chars())
        .collect()
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
