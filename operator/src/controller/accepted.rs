//! What an object was accepted with last.

use behalf_contract::endpoints;
use k8s_openapi::api::apps::v1::Deployment;
use serde::{Deserialize, Serialize};

use super::names;
use super::plan::Plan;
use crate::api::v1alpha1::{FederationStatus, McpServer};

/// What goes on being served while later specs are refused, as the operator noted it on the Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The public origin.
    pub public_url: String,

    /// The application's GUID.
    pub client_id: String,

    /// The Pods' `ServiceAccount`.
    pub service_account_name: String,

    /// The audience of the Pods' token.
    pub audience: String,
}

impl Accepted {
    /// Of a plan that is about to be applied.
    pub fn of(plan: &Plan) -> Self {
        Self {
            public_url: plan.public_url.origin().ascii_serialization(),
            client_id: plan.entra.client_id.clone(),
            service_account_name: plan.service_account_name().to_owned(),
            audience: plan.entra.federation_audience.clone(),
        }
    }

    /// What the Deployment says, if the object `uid` controls it.
    pub fn on(deployment: &Deployment, uid: &str) -> Option<Self> {
        if names::controller_uid(&deployment.metadata) != Some(uid) {
            return None;
        }
        let annotations = deployment.metadata.annotations.as_ref()?;
        serde_json::from_str(annotations.get(names::ACCEPTED_ANNOTATION)?).ok()
    }

    /// What `server` was accepted with: its Deployment and its status both say so. Each alone could have been
    /// written by somebody else, who may change Deployments of the namespace, or the status of `McpServers`. Of the
    /// application the status says nothing but the command.
    pub fn by_both(server: &McpServer, deployment: Option<&Deployment>) -> Option<Self> {
        let told = server.status.as_ref()?.federation.as_ref()?;
        let namespace = server.metadata.namespace.as_deref()?;
        let (deployment, uid) = (deployment?, server.metadata.uid.as_deref()?);
        let noted = Self::on(deployment, uid).or_else(|| Self::on_unnoted(deployment, uid, told));
        noted.filter(|accepted| {
            Some(accepted.public_url.as_str()) == told_public_url(server)
                && accepted.subject(namespace) == told.subject
                && accepted.audience == told.audience
        })
    }

    /// As [`Self::on`], of a Deployment from before the annotation: it has only the `ServiceAccount` to say, and
    /// contradicts nothing else that the status told. No application.
    fn on_unnoted(deployment: &Deployment, uid: &str, told: &FederationStatus) -> Option<Self> {
        let annotations = deployment.metadata.annotations.as_ref();
        let is_noted = annotations.is_some_and(|all| all.contains_key(names::ACCEPTED_ANNOTATION));
        if is_noted || names::controller_uid(&deployment.metadata) != Some(uid) {
            return None;
        }
        let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
        Some(Self {
            public_url: told.redirect_uri.strip_suffix(endpoints::CALLBACK)?.to_owned(),
            client_id: String::new(),
            service_account_name: pod.service_account_name.clone()?,
            audience: told.audience.clone(),
        })
    }

    /// The subject of the Pods' tokens.
    pub fn subject(&self, namespace: &str) -> String {
        names::subject(namespace, &self.service_account_name)
    }
}

/// The `publicUrl` of which the status tells. It counts only with the Deployment's word ([`Accepted::by_both`]).
pub fn told_public_url(server: &McpServer) -> Option<&str> {
    let federation = server.status.as_ref()?.federation.as_ref()?;
    federation.redirect_uri.strip_suffix(endpoints::CALLBACK)
}
