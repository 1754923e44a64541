//! A classic deployment, as the tool returns it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::azure_devops::date;
use crate::azure_devops::wire::Deployment;
use crate::tools::fields;

/// A deployment of a classic release to an environment.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::tools) struct ClassicDeployment {
    /// The deployment's id.
    pub(super) deployment_id: i64,

    /// Name of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<String>,

    /// notDeployed, inProgress, succeeded, partiallySucceeded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,

    /// The current or last step, for example phaseFailed, pending or manualInterventionPending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation_status: Option<String>,

    /// The attempt; the first is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempt: Option<i64>,

    /// The release's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release_id: Option<i64>,

    /// The release's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<String>,

    /// Name of the release pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release_pipeline: Option<String>,

    /// The trigger, for example manual, automated or schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,

    /// Display name of the person who requested the deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requested_for: Option<String>,

    /// Time when the deployment was queued, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queued_at: Option<String>,

    /// Time when the deployment started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<String>,

    /// Time of the last change, RFC 3339. The end of a completed deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_changed_at: Option<String>,

    /// Address of the release for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
}

impl ClassicDeployment {
    /// Reduces a deployment to what the tool returns.
    pub(in crate::tools) fn new(deployment: &Deployment) -> Self {
        let release = deployment.release.as_ref();
        let pipeline = deployment.release_definition.as_ref();
        Self {
            deployment_id: deployment.id,
            environment: environment(deployment),
            status: fields::enumeration(deployment.status.as_deref()),
            operation_status: fields::enumeration(deployment.operation_status.as_deref()),
            attempt: deployment.attempt,
            release_id: release.and_then(|release| release.id),
            release: fields::name(release.and_then(|release| release.name.as_deref())),
            release_pipeline: fields::name(pipeline.and_then(|pipeline| pipeline.name.as_deref())),
            reason: fields::enumeration(deployment.reason.as_deref()),
            requested_for: fields::name(
                deployment
                    .requested_for
                    .as_ref()
                    .and_then(|person| person.display_name.as_deref()),
            ),
            queued_at: deployment.queued_on.map(date::seconds),
            started_at: deployment.started_on.map(date::seconds),
            last_changed_at: deployment.last_modified_on.map(date::seconds),
            url: release.and_then(|release| fields::link(release.web_access_uri.as_deref())),
        }
    }
}

/// Returns the name of the environment of a deployment.
pub(super) fn environment(deployment: &Deployment) -> Option<String> {
    fields::name(
        deployment
            .release_environment
            .as_ref()
            .and_then(|environment| environment.name.as_deref()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drops_null_dates_and_converts_pascal_case() {
        let wire: Deployment = serde_json::from_value(json!({
            "id": 52, "attempt": 1, "deploymentStatus": "failed", "operationStatus": "PhaseFailed",
            "release": {"id": 31, "name": "Release-31", "webAccessUri": "https://dev.azure.com/contoso/shop/_release?releaseId=31"},
            "releaseDefinition": {"id": 4, "name": "shop-cd"}, "releaseEnvironment": {"id": 77, "name": "Staging"},
            "queuedOn": "0001-01-01T00:00:00", "startedOn": "2026-04-01T12:00:00.5Z",
        }))
        .unwrap();
        let reduced = ClassicDeployment::new(&wire);
        assert_eq!(reduced.operation_status.as_deref(), Some("phaseFailed"));
        assert_eq!(reduced.queued_at, None);
        assert_eq!(reduced.environment.as_deref(), Some("Staging"));
        assert!(reduced.url.is_some());
    }
}
