//! The revocations of an object. Each reconcile writes them in a step of its own: they are in force also while another field
//! of the spec is refused, or while another child cannot be written.
//!
//! They are in a Secret: the right to write Secrets decides about the keyring as well (`docs/adr/0032`). The operator may not
//! watch Secrets. It reads this one only until all Pods are ready and report its content.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use super::apply::{self, RevocationsNotWritten};
use super::children;
use super::context::Context;
use super::dereference::cluster_state::ClusterState;
use super::error::ReconcileError;
use super::names;
use super::pods::{has_ended, is_ready};
use super::recent_secrets::SecretKind;
use super::revocations_outcome::{RevocationsOutcome, RevocationsProgress};
use super::validate::{self, Refusal};
use crate::api::v1alpha1::McpServer;
use crate::error_chain::chain;

/// Writes the declared revocations for the Pods, unless all Pods have loaded them. A failure is in the result and stops no
/// other step while there is a Secret that Pods can mount. The next reconcile tries again.
pub(super) async fn write(
    context: &Context,
    server: &McpServer,
    is_accepted: bool,
    found: &ClusterState,
) -> Result<RevocationsOutcome, ReconcileError> {
    let Some(revocations) = validate::revocations(server) else {
        let problem = "spec.sessions.revocations is refused (see Accepted), and the earlier revocations stay";
        return Ok(RevocationsOutcome::Failed {
            problem: problem.to_owned(),
            refusal: None,
        });
    };
    let secret = children::revocations::build(server, &revocations, &context.defaults.child_labels)
        .map_err(ReconcileError::Build)?;
    let file = secret.data.iter().flatten().map(|(_, file)| &file.0);
    let digest = file.fold(Sha256::new(), Sha256::chain_update).finalize();
    let digest = behalf_contract::digest::format_sha256(&digest.into());
    // A Pod that starts may need a Secret that somebody deleted.
    let starting =
        |pod: &Arc<Pod>| pod.metadata.deletion_timestamp.is_none() && !has_ended(pod) && !is_ready(pod);
    let needed = found.existing.pods.iter().any(starting);
    let loaded = RevocationsProgress::of(&digest, found);
    if !needed && loaded == RevocationsProgress::ByAll {
        return Ok(RevocationsOutcome::Declared { digest });
    }
    let has_deployment = has_deployment(server, found);
    if !is_accepted && !has_deployment {
        return Ok(RevocationsOutcome::NoPods);
    }
    let (owner, recent, now) = (
        server.uid().unwrap_or_default(),
        &context.sources.recent_secrets,
        context.now(),
    );
    // Pods that report others may have them because somebody changed the Secret.
    let agrees = matches!(loaded, RevocationsProgress::Unseen | RevocationsProgress::ByAll);
    if agrees && recent.has_recent(&owner, SecretKind::Revocations, &digest, now) {
        return Ok(RevocationsOutcome::Declared { digest });
    }
    Ok(
        match apply::put_revocations(&context.sources.client, secret, !has_deployment).await {
            Ok(()) => {
                recent.remember(&owner, SecretKind::Revocations, &digest, now);
                RevocationsOutcome::Declared { digest }
            }
            Err(RevocationsNotWritten { error, has_earlier }) => {
                let name = names::full_name(server);
                let refusal = error.refusal();
                if refusal.is_none() && !has_earlier && is_accepted {
                    return Err(ReconcileError::Apply(error));
                }
                let problem = refusal.as_ref().map_or_else(|| chain(&error), Refusal::to_string);
                tracing::warn!(
                    mcp_server.name = name,
                    error = problem,
                    "Unable to write the revocations of {name}; running Pods use the earlier ones; trying again"
                );
                RevocationsOutcome::Failed {
                    problem,
                    refusal: refusal.filter(|_| !has_earlier),
                }
            }
        },
    )
}

/// Returns whether the object has a Deployment, so that it was accepted before.
fn has_deployment(server: &McpServer, found: &ClusterState) -> bool {
    let deployment = found.existing.children.named::<Deployment>(&server.name_any());
    let owner = deployment.and_then(|deployment| names::controller_uid(&deployment.metadata));
    owner.is_some() && owner == server.metadata.uid.as_deref()
}
