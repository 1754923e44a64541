//! Tests the parsers and reductions with recorded answers of Azure DevOps. `tests/recorded/README.md` names
//! the sources.

use serde_json::Value;

use crate::azure_devops::wire::{Build, Deployment, List, Timeline};
use crate::tools::get_run_failure_logs::failed_steps;
use crate::tools::list_deployments::deployment::ClassicDeployment;
use crate::tools::pipeline_run::PipelineRun;

const BUILDS: &str = include_str!("../../../tests/recorded/builds.json");
const BUILDS_7_1: &str = include_str!("../../../tests/recorded/builds-7.1.json");
const TIMELINE: &str = include_str!("../../../tests/recorded/timeline.json");
const EARLIER: &str = include_str!("../../../tests/recorded/timeline-earlier-attempt.json");
const DEPLOYMENTS: &str = include_str!("../../../tests/recorded/deployments.json");

fn timeline(text: &str) -> Timeline {
    serde_json::from_str(text).unwrap()
}

/// The text that a model would read, without mail addresses and identities.
fn shown(value: &impl serde::Serialize) -> Value {
    let text = serde_json::to_string(value).unwrap();
    assert!(!text.contains("person@") && !text.contains("aad."), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn builds_become_runs_with_every_member_that_is_shown() {
    let list: List<Build> = serde_json::from_str(BUILDS).unwrap();
    let runs: Vec<_> = list
        .value
        .iter()
        .map(|build| shown(&PipelineRun::of_build(build)))
        .collect();
    assert_eq!(runs.len(), 6);
    for run in &runs {
        for member in [
            "run_id",
            "number",
            "pipeline_id",
            "pipeline",
            "status",
            "result",
            "branch",
            "commit",
            "reason",
            "requested_for",
            "queued_at",
            "started_at",
            "finished_at",
            "duration_seconds",
            "url",
        ] {
            assert!(!run[member].is_null(), "{member} is missing: {run}");
        }
    }
    assert_eq!(
        (&runs[0]["run_id"], &runs[0]["result"]),
        (&818_538.into(), &"succeeded".into())
    );
    assert_eq!(runs[4]["branch"], "master");
    let url = runs[0]["url"].as_str().unwrap();
    assert!(url.ends_with("_build/results?buildId=818538"), "{url}");
}

#[test]
fn builds_of_version_7_1_have_the_same_shape() {
    let list: List<Build> = serde_json::from_str(BUILDS_7_1).unwrap();
    let run = shown(&PipelineRun::of_build(&list.value[0]));
    assert_eq!((&run["run_id"], &run["branch"]), (&12.into(), &"main".into()));
    assert_eq!(
        (&run["pipeline"], &run["requested_for"]),
        (&"deploy_to_prod".into(), &"A person".into())
    );
}

#[test]
fn a_timeline_names_what_failed_with_its_path_issues_and_log() {
    let steps = failed_steps::steps(&timeline(TIMELINE), &[]);
    let tasks: Vec<_> = steps
        .iter()
        .map(|step| (step.job.as_deref().unwrap(), step.task.as_deref().unwrap()))
        .collect();
    assert_eq!(
        tasks,
        [
            ("Formatting Linux x64", "Run tests/scripts/format.py"),
            (
                "Libraries Test Run checked coreclr Windows_NT x86 Release",
                "Send to Helix"
            ),
        ]
    );
    let (format, helix) = (&steps[0], &steps[1]);
    assert_eq!(
        format.issues[0].message,
        "The process '/usr/bin/python' failed with exit code 1"
    );
    assert_eq!(format.issues[0].log_line.as_deref(), Some("38"));
    assert_eq!(helix.issues[0].line.as_deref(), Some("76"));
    assert!(
        steps
            .iter()
            .all(|step| step.log.is_some() && step.stage.is_none())
    );
}

#[test]
fn a_retried_job_leads_to_the_timeline_of_its_earlier_attempt() {
    let current = timeline(TIMELINE);
    let earlier = failed_steps::earlier_attempts(&current);
    assert_eq!(earlier.len(), 3);
    assert!(earlier.contains(&"5c657fa2-65d2-55e4-f9c9-8fbd97185e37".to_owned()));
    let steps = failed_steps::steps(&current, &[timeline(EARLIER)]);
    let lost = steps.iter().find(|step| step.retried).unwrap();
    assert_eq!((lost.result.as_str(), lost.task.as_deref()), ("abandoned", None));
    let job = "Libraries Test Run release coreclr Linux_musl x64 Release";
    assert_eq!(lost.job.as_deref(), Some(job));
}

#[test]
fn a_deployment_keeps_its_pascal_case_status_and_loses_its_null_dates() {
    let list: List<Deployment> = serde_json::from_str(DEPLOYMENTS).unwrap();
    let deployment = shown(&ClassicDeployment::new(&list.value[0]));
    assert_eq!(deployment["deployment_id"], 79);
    assert_eq!(
        (&deployment["environment"], &deployment["release"]),
        (&"PROD".into(), &"Release-2".into())
    );
    assert_eq!(
        (&deployment["status"], &deployment["operation_status"]),
        (&"notDeployed".into(), &"phaseFailed".into())
    );
    assert!(deployment.get("queued_at").is_none(), "{deployment}");
    assert_eq!(deployment["started_at"], "2017-08-29T16:51:32Z");
}
