//! From Azure DevOps' answers to ours: fifty builds are 294 KB there and 20 KB here. Pure.

use crate::azure_devops::date;
use crate::azure_devops::wire::{Build, Deployment, Link, Links, Run, camel};
use crate::redact;

use super::output::{ClassicDeployment, PipelineRun, TriggeredRun};

/// Names and references are cut here, in characters.
const LONGEST_NAME: usize = 300;

/// A build as a run.
pub(crate) fn run(build: &Build) -> PipelineRun {
    let definition = build.definition.clone().unwrap_or_default();
    PipelineRun {
        run_id: build.id,
        number: name(build.number.as_deref()),
        pipeline_id: definition.id,
        pipeline: name(definition.name.as_deref()),
        status: enumeration(build.status.as_deref()),
        result: enumeration(build.result.as_deref()).filter(|result| result != "none"),
        branch: build.source_branch.as_deref().and_then(branch),
        commit: name(build.source_version.as_deref()),
        reason: enumeration(build.reason.as_deref()),
        requested_for: name(
            build
                .requested_for
                .as_ref()
                .and_then(|person| person.display_name.as_deref()),
        ),
        queued_at: build.queue_time.map(date::seconds),
        started_at: build.start_time.map(date::seconds),
        finished_at: build.finish_time.map(date::seconds),
        duration_seconds: date::duration_seconds(build.start_time, build.finish_time),
        url: web(build.links.as_ref()),
    }
}

/// A classic deployment.
pub(crate) fn deployment(deployment: &Deployment) -> ClassicDeployment {
    let release = deployment.release.as_ref();
    let pipeline = deployment.release_definition.as_ref();
    ClassicDeployment {
        deployment_id: deployment.id,
        environment: environment(deployment),
        status: enumeration(deployment.status.as_deref()),
        operation_status: enumeration(deployment.operation_status.as_deref()),
        attempt: deployment.attempt,
        release_id: release.and_then(|release| release.id),
        release: name(release.and_then(|release| release.name.as_deref())),
        release_pipeline: name(pipeline.and_then(|pipeline| pipeline.name.as_deref())),
        reason: enumeration(deployment.reason.as_deref()),
        requested_for: name(
            deployment
                .requested_for
                .as_ref()
                .and_then(|person| person.display_name.as_deref()),
        ),
        queued_at: deployment.queued_on.map(date::seconds),
        started_at: deployment.started_on.map(date::seconds),
        last_changed_at: deployment.last_modified_on.map(date::seconds),
        url: release.and_then(|release| link(release.web_access_uri.as_deref())),
    }
}

/// The name of the environment that a deployment went to.
pub(crate) fn environment(deployment: &Deployment) -> Option<String> {
    name(
        deployment
            .release_environment
            .as_ref()
            .and_then(|environment| environment.name.as_deref()),
    )
}

/// A run that was just queued.
pub(crate) fn triggered(project: &str, pipeline_id: i64, run: &Run) -> TriggeredRun {
    let pipeline = run.pipeline.clone().unwrap_or_default();
    let repository = run
        .resources
        .as_ref()
        .and_then(|resources| resources.repositories.get("self"));
    TriggeredRun {
        project: project.to_owned(),
        run_id: run.id,
        number: name(run.name.as_deref()),
        pipeline_id: pipeline.id.unwrap_or(pipeline_id),
        pipeline: name(pipeline.name.as_deref()),
        state: enumeration(run.state.as_deref()),
        branch: repository.and_then(|repository| branch(repository.ref_name.as_deref()?)),
        created_at: run.created_date.map(date::seconds),
        url: web(run.links.as_ref()),
    }
}

/// A name as it is shown: without mail addresses, and not endless.
pub(crate) fn name(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty()).then(|| redact::line(&redact::cut(text, LONGEST_NAME)))
}

fn enumeration(value: Option<&str>) -> Option<String> {
    value
        .filter(|value| !value.is_empty())
        .map(|value| redact::cut(&camel(value), LONGEST_NAME))
}

/// `refs/heads/main` is `main`; tags and pull requests keep their full name.
fn branch(reference: &str) -> Option<String> {
    name(Some(reference.strip_prefix("refs/heads/").unwrap_or(reference)))
}

fn web(links: Option<&Links>) -> Option<String> {
    let Link { href } = links?.web.clone()?;
    link(href.as_deref())
}

/// A link for the browser: without query it could carry no signature, with one it must be a run's or a
/// release's id.
fn link(href: Option<&str>) -> Option<String> {
    let href = href.filter(|href| href.len() <= 2_048)?;
    let url = url::Url::parse(href).ok()?;
    let harmless = matches!(url.scheme(), "https" | "http")
        && url.username().is_empty()
        && url.password().is_none()
        && url
            .query_pairs()
            .all(|(name, _)| matches!(&*name, "buildId" | "releaseId" | "view" | "_a" | "environmentId"));
    harmless.then(|| href.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_build_keeps_what_matters_and_loses_what_identifies() {
        let build: Build = serde_json::from_value(json!({
            "id": 638, "buildNumber": "20260401.4", "status": "completed", "result": "failed",
            "reason": "individualCI", "queueTime": "2026-04-01T10:48:33.3063796Z",
            "startTime": "2026-04-01T10:48:41.12Z", "finishTime": "2026-04-01T10:52:07.5Z",
            "sourceBranch": "refs/heads/main", "sourceVersion": "574271bb",
            "definition": {"id": 178, "name": "shop-ci"},
            "requestedFor": {"displayName": "Ana Contoso", "uniqueName": "ana@contoso.example", "descriptor": "aad.Ab12"},
            "_links": {"web": {"href": "https://dev.azure.com/contoso/_build/results?buildId=638"}},
            "parameters": "{\"password\":\"x\"}",
        }))
        .unwrap();
        let run = serde_json::to_value(run(&build)).unwrap();
        assert_eq!(
            run,
            json!({
                "run_id": 638, "number": "20260401.4", "pipeline_id": 178, "pipeline": "shop-ci",
                "status": "completed", "result": "failed", "branch": "main", "commit": "574271bb",
                "reason": "individualCI", "requested_for": "Ana Contoso",
                "queued_at": "2026-04-01T10:48:33Z", "started_at": "2026-04-01T10:48:41Z",
                "finished_at": "2026-04-01T10:52:07Z", "duration_seconds": 206,
                "url": "https://dev.azure.com/contoso/_build/results?buildId=638",
            })
        );
    }

    #[test]
    fn a_queued_build_has_no_result_and_no_times() {
        let build: Build =
            serde_json::from_value(json!({"id": 1, "status": "notStarted", "result": "none"})).unwrap();
        assert_eq!(
            serde_json::to_value(run(&build)).unwrap(),
            json!({"run_id": 1, "status": "notStarted"})
        );
    }

    #[test]
    fn a_deployment_knows_null_dates_and_pascal_case() {
        let wire: Deployment = serde_json::from_value(json!({
            "id": 52, "attempt": 1, "deploymentStatus": "failed", "operationStatus": "PhaseFailed",
            "release": {"id": 31, "name": "Release-31", "webAccessUri": "https://dev.azure.com/contoso/shop/_release?releaseId=31"},
            "releaseDefinition": {"id": 4, "name": "shop-cd"}, "releaseEnvironment": {"id": 77, "name": "Staging"},
            "queuedOn": "0001-01-01T00:00:00", "startedOn": "2026-04-01T12:00:00.5Z",
        }))
        .unwrap();
        let reduced = deployment(&wire);
        assert_eq!(reduced.operation_status.as_deref(), Some("phaseFailed"));
        assert_eq!(reduced.queued_at, None);
        assert_eq!(reduced.environment.as_deref(), Some("Staging"));
        assert!(reduced.url.is_some());
    }

    #[rstest]
    #[case("https://dev.azure.com/x?sig=abc")]
    #[case("https://ana:pat@dev.azure.com/x")]
    #[case("javascript:alert(1)")]
    #[case("not a link")]
    fn links_that_carry_something_are_dropped(#[case] href: &str) {
        assert_eq!(link(Some(href)), None);
    }
}
