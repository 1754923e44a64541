//! The organization `contoso` of the demo. All dates are relative to the moment it is made.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    World, commit_of,
    model::{
        Approval, Build, Definition, Deployment, Environment, EnvironmentRecord, Identity, Project,
        ReleaseApproval, TemplateParameter,
    },
    story::approval_id,
    table::{BUILDS, DEPLOYMENTS},
    uuid_of,
};
use crate::people::BEN;

/// `minutes` before `now`, with `ticks` of 100 ns added, so that dates differ in their number of digits.
fn ago(now: Timestamp, minutes: i64, ticks: i64) -> Timestamp {
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let distance = SignedDuration::from_secs(minutes.saturating_mul(60));
    seconds
        .checked_sub(distance)
        .and_then(|time| time.checked_add(SignedDuration::from_nanos(ticks.saturating_mul(100))))
        .unwrap_or(now)
}

impl World {
    /// The organization `contoso` of the demo, as of `now`.
    pub(in crate::azure_devops) fn demo(now: Timestamp) -> Self {
        let mut world = Self {
            projects: projects(now),
            definitions: definitions(now)
                .into_iter()
                .map(|definition| (definition.id, definition))
                .collect(),
            builds: BTreeMap::new(),
            deployments: deployments(now)
                .into_iter()
                .map(|deployment| (deployment.id, deployment))
                .collect(),
            environments: environments(now),
            environment_records: environment_records(now),
            approvals: BTreeMap::new(),
            release_approvals: BTreeMap::new(),
        };
        for build in builds(now) {
            world.builds.insert(build.id, build);
        }
        let approval = Approval {
            id: approval_id(637),
            project: "shop".to_owned(),
            build: 637,
            status: "pending".to_owned(),
            approver: BEN.into(),
            comment: None,
            instructions: "Check the dashboards of Staging first".to_owned(),
            created: ago(now, 32, 1_234_500),
            modified: ago(now, 32, 1_234_500),
        };
        world.approvals.insert(approval.id.clone(), approval);
        world.release_approvals.insert(
            71,
            ReleaseApproval {
                id: 71,
                project: "shop".to_owned(),
                deployment: 53,
                status: "pending".to_owned(),
                approver: BEN.into(),
                comments: String::new(),
                created: ago(now, 41, 0),
                modified: ago(now, 41, 0),
            },
        );
        world
    }
}

fn projects(now: Timestamp) -> Vec<Project> {
    let project = |name: &str, description: &str, visibility: &str| Project {
        id: uuid_of(&format!("project {name}")),
        name: name.to_owned(),
        description: description.to_owned(),
        visibility: visibility.to_owned(),
        updated: ago(now, 60 * 24 * 90, 4_700_000),
    };
    vec![
        // `organization` is a value that the spec does not list.
        project("shop", "The web shop", "organization"),
        project("payments", "Card payments, need to know", "private"),
    ]
}

fn definitions(now: Timestamp) -> Vec<Definition> {
    let definition = |id: u32, project: &str, name: &str, path: &str, stages: &[&'static str]| Definition {
        id,
        project: project.to_owned(),
        name: name.to_owned(),
        path: path.to_owned(),
        yaml: if name.ends_with("-ci") {
            "/azure-pipelines.yml".to_owned()
        } else {
            format!("/pipelines/{name}.yml")
        },
        queue_status: "enabled".to_owned(),
        revision: 2,
        created: ago(now, 60 * 24 * 80 - i64::from(id), 0),
        parameters: vec![
            TemplateParameter {
                name: "env",
                default: "test",
                values: &["test", "staging", "production"],
            },
            TemplateParameter {
                name: "note",
                default: "",
                values: &[],
            },
        ],
        stages: stages.to_vec(),
        branches: vec![
            "refs/heads/main",
            "refs/heads/release/2.4",
            "refs/heads/feature/basket",
            "refs/tags/v2.4.0",
        ],
    };
    let mut all = vec![
        definition(178, "shop", "shop-ci", "\\", &["Build", "Package"]),
        definition(179, "shop", "shop-nightly", "\\nightly", &["Nightly"]),
        definition(180, "shop", "shop-cd", "\\", &["Staging", "Production"]),
        definition(
            181,
            "shop",
            "shop-hotfix",
            "\\restricted",
            &["Build", "Production"],
        ),
        definition(182, "shop", "shop-legacy", "\\", &["Build"]),
        definition(210, "payments", "payments-ci", "\\", &["Build"]),
    ];
    for definition in &mut all {
        if definition.id == 182 {
            "disabled".clone_into(&mut definition.queue_status);
        }
    }
    all
}

fn builds(now: Timestamp) -> Vec<Build> {
    let mut numbers: BTreeMap<(u32, String), u32> = BTreeMap::new();
    BUILDS
        .into_iter()
        .map(
            |(id, definition, status, result, reason, queued, ran, branch, who, story)| {
                let queued_at = ago(now, queued, i64::from(id) * 3_796 % 10_000_000);
                let day = queued_at.strftime("%Y%m%d").to_string();
                let count = numbers.entry((definition, day.clone())).or_default();
                *count += 1;
                Build {
                    id,
                    definition,
                    number: format!("{day}.{count}"),
                    status: status.to_owned(),
                    result: (!result.is_empty()).then(|| result.to_owned()),
                    reason: reason.to_owned(),
                    queued: queued_at,
                    // The service drops trailing zeros, so the three times have two decimals, one and none.
                    started: (status != "notStarted").then(|| ago(now, queued, 101_200_000)),
                    finished: (status == "completed").then(|| {
                        ago(
                            now,
                            queued - ran,
                            if id % 2 == 0 { 205_000_000 } else { 200_000_000 },
                        )
                    }),
                    branch: branch.to_owned(),
                    version: commit_of(&format!("{branch} {}", id / 3)),
                    requested_for: Identity::from(who),
                    template_parameters: [("env".to_owned(), "test".to_owned())].into(),
                    tags: if id == 638 {
                        vec!["basket".to_owned()]
                    } else {
                        Vec::new()
                    },
                    story,
                }
            },
        )
        .collect()
}

fn deployments(now: Timestamp) -> Vec<Deployment> {
    DEPLOYMENTS
        .into_iter()
        .map(
            |(id, release, definition, environment, attempt, latest, status, operation, minutes, who)| {
                let waiting = operation == "Pending" || operation == "Rejected";
                let unfinished = waiting || status == "inProgress";
                Deployment {
                    id,
                    project: "shop".to_owned(),
                    release,
                    definition,
                    definition_name: if definition == 4 {
                        "shop-cd"
                    } else {
                        "shop-cd-emergency"
                    }
                    .to_owned(),
                    definition_environment: match (definition, environment) {
                        (4, "Staging") => 12,
                        (4, _) => 13,
                        _ => 14,
                    },
                    environment: release * 2 + u32::from(environment == "Production"),
                    environment_name: environment.to_owned(),
                    attempt,
                    latest_attempt: latest,
                    reason: if environment == "Staging" {
                        "automated"
                    } else {
                        "manual"
                    }
                    .to_owned(),
                    status: status.to_owned(),
                    operation_status: operation.to_owned(),
                    build: if release == 31 { 636 } else { 631 },
                    branch: "refs/heads/main".to_owned(),
                    queued: (id % 2 == 0).then(|| ago(now, minutes + 1, 333_000)),
                    started: (!waiting).then(|| ago(now, minutes, 5_000_000)),
                    completed: (!unfinished).then(|| ago(now, minutes - 4, 0)),
                    modified: ago(now, if unfinished { minutes } else { minutes - 4 }, 0),
                    requested_for: who.into(),
                }
            },
        )
        .collect()
}

fn environments(now: Timestamp) -> Vec<Environment> {
    let environment = |id: u32, project: &str, name: &str, description: &str| Environment {
        id,
        project: project.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        created: ago(now, 60 * 24 * 70, i64::from(id) * 1_000),
    };
    vec![
        environment(3, "shop", "Staging", "Every merge to main"),
        environment(4, "shop", "Production", "With approval"),
        environment(6, "payments", "Production", ""),
    ]
}

fn environment_records(now: Timestamp) -> Vec<EnvironmentRecord> {
    [
        (901, 3, 637, Some("succeeded"), 50),
        (900, 3, 634, Some("failed"), 236),
        (899, 4, 631, Some("succeeded"), 390),
    ]
    .into_iter()
    .map(|(id, environment, build, result, minutes)| EnvironmentRecord {
        id,
        environment,
        build,
        stage: if environment == 3 { "Staging" } else { "Production" }.to_owned(),
        job: "web".to_owned(),
        result: result.map(str::to_owned),
        queued: ago(now, minutes, 7_650_000),
        started: Some(ago(now, minutes - 1, 0)),
        finished: Some(ago(now, minutes - 3, 40)),
    })
    .collect()
}
