//! The inputs that the status is computed from: the plan and its children, or the Deployment of an earlier plan.

use behalf_contract::{ObjectIdentity, endpoints};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use super::command;
use super::pod_identity::PodIdentity;
use crate::api::v1alpha1::{FederationStatus, McpServer, McpServerStatus};
use crate::controller::children::{Applied, Children};
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::names;
use crate::controller::plan::Plan;
use crate::controller::revocations_outcome::RevocationsOutcome;
use crate::controller::rollouts::RolloutDecision;
use crate::controller::validate::Refusals;

/// The outcome of a reconcile, before the status is computed.
#[derive(Debug)]
pub enum ReconcileOutcome {
    /// The object is refused. The children that were applied before stay, and their Pods go on.
    Refused(Refusals),

    /// Every child is applied.
    Applied {
        /// The plan that the children were built from.
        plan: Box<Plan>,

        /// The children, as the API server returned them.
        children: Box<Children<Applied>>,

        /// Whether the Pods were free to be replaced.
        decision: RolloutDecision,
    },
}

/// The inputs that the status is computed from.
pub(super) struct StatusInputs<'a> {
    pub(super) server: &'a McpServer,
    pub(super) outcome: &'a ReconcileOutcome,
    pub(super) revocations: &'a RevocationsOutcome,
    pub(super) found: &'a ClusterState,

    /// The status before this reconcile.
    pub(super) previous: &'a McpServerStatus,

    /// The generation of the object.
    pub(super) generation: i64,

    /// The object that the status describes.
    pub(super) object: ObjectIdentity,

    /// The plan of this generation, if it was accepted.
    pub(super) plan: Option<&'a Plan>,

    /// The address and identity of the Pods, from this generation or from the last accepted one.
    pub(super) identity: Option<PodIdentity>,

    /// The Deployment: as just applied, or of an earlier generation if the object is refused.
    pub(super) deployment: Option<&'a Deployment>,

    pub(super) children: Option<&'a Children<Applied>>,
}

impl<'a> StatusInputs<'a> {
    pub(super) fn of(
        server: &'a McpServer,
        outcome: &'a ReconcileOutcome,
        revocations: &'a RevocationsOutcome,
        found: &'a ClusterState,
        previous: &'a McpServerStatus,
    ) -> Self {
        let inputs = Self {
            server,
            outcome,
            revocations,
            found,
            previous,
            generation: server.metadata.generation.unwrap_or_default(),
            object: ObjectIdentity {
                namespace: server.namespace().unwrap_or_default(),
                name: server.name_any(),
            },
            plan: None,
            identity: None,
            deployment: None,
            children: None,
        };
        match outcome {
            ReconcileOutcome::Applied {
                plan,
                children,
                decision,
            } => Self {
                identity: pod_identity(server, plan, &children.deployment, found, *decision),
                plan: Some(plan),
                deployment: Some(&children.deployment),
                children: Some(children),
                ..inputs
            },
            ReconcileOutcome::Refused(_) => {
                let children = &found.existing.children;
                let uid = server.uid().unwrap_or_default();
                // A Deployment of another owner says nothing about this object.
                let deployment = children
                    .named::<Deployment>(&inputs.object.name)
                    .filter(|deployment| names::controller_uid(&deployment.metadata) == Some(&*uid));
                Self {
                    identity: deployment
                        .and_then(|deployment| PodIdentity::read(deployment, &children.config_maps, &uid)),
                    deployment,
                    ..inputs
                }
            }
        }
    }

    /// Returns the federated identity credential to create in Entra. No value comes from a Pod. The command names the
    /// application only if the spec is accepted. An administrator runs the command unchanged, and a user who
    /// can write Deployments in the namespace could make them name another application.
    pub(super) fn federation(&self, issuer: Option<String>) -> Option<FederationStatus> {
        let PodIdentity {
            public_url,
            subject,
            audience,
        } = self.identity.clone()?;
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

    /// Returns whether the Deployment has no replicas.
    pub(super) fn suspended(&self) -> bool {
        let replicas = self
            .deployment
            .and_then(|deployment| deployment.spec.as_ref()?.replicas);
        replicas == Some(0)
    }

    /// Returns the number of Pods that the Deployment has.
    pub(super) fn replicas(&self) -> Option<i32> {
        let status = self.deployment?.status.as_ref();
        Some(status.and_then(|status| status.replicas).unwrap_or(0))
    }

    /// Returns the label selector of the Deployment's Pods as a text.
    pub(super) fn selector(&self) -> Option<String> {
        self.deployment?;
        let labels = names::selector(&self.object.name);
        let terms: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Some(terms.join(","))
    }

    /// The digest of the Pod template. While the object is refused, somebody else may have written the
    /// annotation; another text than a digest is ignored.
    pub(super) fn template(&self) -> Option<&'a str> {
        self.annotation(names::TEMPLATE_ANNOTATION)
            .filter(|text| is_digest(text))
    }

    /// Returns an annotation of the current Deployment.
    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        let annotations = self.deployment?.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }
}

/// Returns what the Pods of an accepted object run with. While they wait for the rollouts of others, it is what an earlier
/// release made them with.
fn pod_identity(
    server: &McpServer,
    plan: &Plan,
    deployment: &Deployment,
    found: &ClusterState,
    decision: RolloutDecision,
) -> Option<PodIdentity> {
    match decision {
        RolloutDecision::Now => Some(PodIdentity::of(plan)),
        RolloutDecision::Waits => {
            let uid = server.uid().unwrap_or_default();
            PodIdentity::read(deployment, &found.existing.children.config_maps, &uid)
        }
    }
}

/// Returns whether a text is `sha256:` with 64 hexadecimal digits.
fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
