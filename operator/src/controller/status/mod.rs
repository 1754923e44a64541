//! From what was seen to what users read. Computing is pure; one function writes.

mod command;
mod conditions;
pub mod running;
#[cfg(test)]
mod tests;
mod write;

pub use conditions::{ConditionType, Finding, Status, conditions_equal, find, is};
pub use write::{StatusError, with_failed_step, write};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use crate::api::v1alpha1::{Address, FederationStatus, KeysStatus, McpServer, McpServerStatus};
use crate::controller::children::{Applied, Children};
use crate::controller::dereference::dereferenced::Found;
use crate::controller::names;
use crate::controller::validate::Refusals;
use crate::controller::validate::plan::{KeyringPlan, Plan};
use behalf_contract::Reason;
use behalf_contract::{ObjectIdentity, StoreConfig, endpoints};
use conditions::observed::Observed;
use conditions::{available, ready, set};
use running::Running;

/// The outcome of one pass.
#[derive(Debug)]
pub enum Outcome {
    /// The object cannot be served as it is. What was applied before goes on.
    Refused(Refusals),

    /// Every child is as it should be.
    Applied {
        /// What was built.
        plan: Box<Plan>,

        /// The children.
        children: Box<Children<Applied>>,
    },
}

/// The whole status. `previous` conditions give the times of transitions, and stand for what cannot be seen
/// at the moment.
pub fn compute(server: &McpServer, outcome: &Outcome, found: &Found, now: Timestamp) -> McpServerStatus {
    let previous = server.status.clone().unwrap_or_default();
    let generation = server.metadata.generation.unwrap_or_default();
    let facts = Facts::of(server, outcome, found);
    let observed = Observed::of(&facts, found, &previous, generation);
    let federation = facts.federation(found.issuer.clone());
    let command = federation
        .as_ref()
        .and_then(|federation| federation.command.as_deref());

    let accepted = accepted(outcome);
    let available = facts.available(found, now);
    let federated = observed.federation(command);
    let verified = observed.handshake();
    let signed_in = observed.sign_in();
    let durable = match facts.plan.map(|plan| &plan.sessions.store) {
        Some(StoreConfig::Memory) | None => Finding::new(Status::False, Reason::MemoryStore, MEMORY_STORE),
    };

    let mut status = McpServerStatus {
        observed_generation: generation,
        verified_generation: previous.verified_generation,
        observed_template: facts.annotation(names::TEMPLATE_ANNOTATION).map(str::to_owned),
        federation,
        keys: keys(&facts).or_else(|| previous.keys.clone()),
        ..McpServerStatus::default()
    };
    let mut put = |kind, finding: &Finding, at| {
        set(
            &mut status.conditions,
            &previous.conditions,
            kind,
            finding,
            at,
            now,
        );
    };
    // What was observed of an older configuration says so.
    let observed_at = |kind| match outcome {
        Outcome::Applied { .. } => generation,
        Outcome::Refused(_) => find(&previous.conditions, kind)
            .and_then(|condition| condition.observed_generation)
            .unwrap_or(generation),
    };
    put(ConditionType::Accepted, &accepted, generation);
    put(
        ConditionType::Available,
        &available,
        observed_at(ConditionType::Available),
    );
    put(
        ConditionType::FederationVerified,
        &federated,
        observed_at(ConditionType::FederationVerified),
    );
    put(
        ConditionType::Verified,
        &verified,
        observed_at(ConditionType::Verified),
    );
    put(
        ConditionType::UserSignIn,
        &signed_in,
        observed_at(ConditionType::UserSignIn),
    );
    put(ConditionType::SessionsDurable, &durable, generation);
    let seen_before = previous.verified_generation == Some(generation);
    let summary = ready::summarize(
        &[
            (ConditionType::Accepted, &accepted),
            (ConditionType::Available, &available),
            (ConditionType::FederationVerified, &federated),
            (ConditionType::Verified, &verified),
        ],
        seen_before,
    );
    put(ConditionType::Ready, &summary.finding, generation);
    if available.reason == Reason::RolloutInProgress && matches!(outcome, Outcome::Applied { .. }) {
        let reconciling = Finding::new(Status::True, Reason::RolloutInProgress, available.message.clone());
        put(ConditionType::Reconciling, &reconciling, generation);
    }
    if let Outcome::Refused(refusals) = outcome
        && refusals.need_edit()
    {
        let stalled = Finding::new(Status::True, refusals.reason(), refusals.to_string());
        put(ConditionType::Stalled, &stalled, generation);
    }
    if summary.all_true && matches!(outcome, Outcome::Applied { .. }) {
        status.verified_generation = Some(generation);
    }
    if verified.status == Status::True {
        status.address = facts.running.as_ref().map(address);
        status.server_info = observed.server_info().or_else(|| previous.server_info.clone());
    }
    status
}

const MEMORY_STORE: &str = "sessions are kept in the memory of one Pod: a restart or an update ends all of them, \
                            and users sign in again";

/// What the conditions are computed from, whether the pass was refused or not.
pub(super) struct Facts<'a> {
    /// The object that the status describes.
    object: ObjectIdentity,

    /// The plan of this generation, if it was accepted.
    plan: Option<&'a Plan>,

    /// The address and identity of the Pods, from this generation or from the last accepted one.
    running: Option<Running>,

    /// The Deployment: as just applied, or what is left of an earlier generation.
    deployment: Option<&'a Deployment>,

    children: Option<&'a Children<Applied>>,
}

impl<'a> Facts<'a> {
    fn of(server: &McpServer, outcome: &'a Outcome, found: &'a Found) -> Self {
        let object = ObjectIdentity {
            namespace: server.namespace().unwrap_or_default(),
            name: server.name_any(),
        };
        match outcome {
            Outcome::Applied { plan, children } => Self {
                object,
                running: Some(Running::of(plan)),
                plan: Some(plan),
                deployment: Some(&children.deployment),
                children: Some(children),
            },
            Outcome::Refused(_) => {
                let children = &found.existing.children;
                let deployment = children.named::<Deployment>(&object.name);
                let uid = server.uid().unwrap_or_default();
                Self {
                    running: deployment
                        .and_then(|deployment| Running::read(deployment, &children.config_maps, &uid)),
                    object,
                    plan: None,
                    deployment,
                    children: None,
                }
            }
        }
    }

    /// Returns the credential to create in Entra. No value comes from a Pod. The command names the
    /// application only if the spec is accepted. An administrator runs the command unchanged, and a user who
    /// can write Deployments in the namespace could make them name another application.
    fn federation(&self, issuer: Option<String>) -> Option<FederationStatus> {
        let Running {
            public_url,
            subject,
            audience,
        } = self.running.clone()?;
        let command = self.plan.zip(issuer.as_deref()).and_then(|(plan, issuer)| {
            command::federated_credential(&plan.entra.client_id, &self.object, issuer, &subject, &audience)
        });
        Some(FederationStatus {
            issuer,
            subject,
            audience,
            command,
            redirect_uri: format!("{public_url}{}", endpoints::CALLBACK),
        })
    }

    /// Whether no Pod is wanted.
    pub(super) fn suspended(&self) -> bool {
        let replicas = self
            .deployment
            .and_then(|deployment| deployment.spec.as_ref()?.replicas);
        replicas == Some(0)
    }

    /// An annotation of the current Deployment.
    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        let annotations = self.deployment?.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    fn available(&self, found: &Found, now: Timestamp) -> Finding {
        match self.deployment {
            Some(deployment) => {
                let template = self.annotation(names::TEMPLATE_ANNOTATION);
                available::judge(deployment, &found.existing.pods, template, now)
            }
            None => Finding::new(
                Status::False,
                Reason::NotDeployed,
                "no Pods are running: this object was never accepted",
            ),
        }
    }
}

fn accepted(outcome: &Outcome) -> Finding {
    match outcome {
        Outcome::Refused(refusals) => Finding::new(Status::False, refusals.reason(), refusals.to_string()),
        Outcome::Applied { .. } => Finding::new(
            Status::True,
            Reason::Accepted,
            "the spec is valid and everything it names exists",
        ),
    }
}

fn address(running: &Running) -> Address {
    Address {
        url: format!("{}{}", running.public_url, endpoints::MCP),
    }
}

/// The sealing key: of the keyring that was found, or of the one that was made a moment ago.
fn keys(facts: &Facts<'_>) -> Option<KeysStatus> {
    let made = || {
        let secret = facts.children?.keyring.as_ref()?;
        let file = secret.data.as_ref()?.get(names::KEYRING_KEY)?;
        Some(behalf_contract::Keyring::parse(&file.0).ok()?.sessions.sealing)
    };
    let current = match &facts.plan?.keyring {
        KeyringPlan::Keep { sealing } => Some(sealing.clone()),
        KeyringPlan::Make => made(),
    };
    current.map(|current| KeysStatus { current })
}
