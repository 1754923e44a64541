//! Makes a build's [`Story`]: the timeline, its earlier attempts and the logs.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    World,
    build_progress::BuildProgress,
    generated,
    log::{Log, LogText},
    model::{Build, Story},
    planted::{INSTRUCTIONS, SECRETS},
    timeline::{CANCELED, FAILED, SKIPPED, SUCCEEDED, Standing, Timeline, later},
    uuid_of,
};

/// Id of a build's current timeline, which is its plan id too.
pub fn timeline_id(build: u32) -> String {
    uuid_of(&format!("timeline {build}"))
}

/// Id of the timeline of an earlier attempt.
pub fn earlier_timeline_id(build: u32, attempt: u32) -> String {
    uuid_of(&format!("timeline {build} attempt {attempt}"))
}

/// Id of the approval that a build's deployment stage waits for: the id of its timeline record.
pub fn approval_id(build: u32) -> String {
    uuid_of(&format!("approval {build}"))
}

/// Tells what happened in `build`.
pub(crate) fn progress(world: &World, build: &Build) -> BuildProgress {
    let start = build.started.unwrap_or(build.queued);
    match build.story {
        Story::Queued => BuildProgress::default(),
        Story::Succeeded => succeeded(build.id, start, false),
        Story::PartiallySucceeded => succeeded(build.id, start, true),
        Story::CompileError => compile_error(build.id, start),
        Story::FlakyTest => flaky_test(build.id, start),
        Story::Canceled => stopped(build.id, start, CANCELED),
        Story::Running => stopped(build.id, start, Standing::InProgress),
        Story::AwaitingApproval => deployment(world, build.id, start),
        Story::Generated { records, log_lines } => generated::progress(build.id, start, records, log_lines),
    }
}

fn lines(id: u32, created: Timestamp, text: &[&'static str]) -> Log {
    Log {
        id,
        created,
        text: LogText::Lines(text.iter().map(|line| Cow::Borrowed(*line)).collect()),
    }
}

fn agent_logs(start: Timestamp) -> Vec<Log> {
    vec![
        lines(
            5,
            start,
            &[
                "##[section]Starting: Initialize job",
                "Agent name: 'Hosted Agent 3'",
                "Agent machine name: 'linux-3'",
                "Current image version: '20260322.1'",
                "##[section]Finishing: Initialize job",
            ],
        ),
        lines(
            6,
            later(start, 7_313),
            &[
                "##[section]Starting: Checkout shop@main to s",
                "##[command]git --config-env=http.extraheader=GIT_AUTH fetch --depth=1 origin",
                "remote: Azure Repos",
                "HEAD is now at 574271b Basket: show the reduced price",
                "##[section]Finishing: Checkout shop@main to s",
            ],
        ),
    ]
}

fn succeeded(build: u32, start: Timestamp, with_warning: bool) -> BuildProgress {
    let result = if with_warning {
        Standing::Completed("succeededWithIssues")
    } else {
        SUCCEEDED
    };
    let mut timeline = Timeline::new(build, 1, start);
    let (_, job) = timeline.stage("Build", "linux", result);
    timeline.task(&job, "Initialize job", SUCCEEDED, Some(5));
    timeline.task(&job, "Checkout", SUCCEEDED, Some(6));
    let test = timeline.task(&job, "Test", result, Some(9));
    if with_warning {
        timeline.issues(
            &test,
            &[json!({"type": "warning", "category": null, "message": "2 tests are marked as ignored", "data": {"type": "warning"}})],
        );
    }
    timeline.task(&job, "Finalize Job", SUCCEEDED, None);
    let mut logs = agent_logs(start);
    logs.push(lines(
        9,
        later(start, 14_626),
        &[
            "##[section]Starting: Test",
            "##[command]cargo test --workspace",
            "running 214 tests",
            "test result: ok. 212 passed; 0 failed; 2 ignored",
            "##[section]Finishing: Test",
        ],
    ));
    BuildProgress {
        records: Some(timeline.into_records()),
        earlier: Vec::new(),
        logs,
    }
}

fn compile_error(build: u32, start: Timestamp) -> BuildProgress {
    let mut timeline = Timeline::new(build, 1, start);
    let (_, job) = timeline.stage("Build", "linux", FAILED);
    timeline.set(&job, "log", timeline.log_reference(14));
    timeline.issues(&job, &[json!({"type": "error", "category": "General", "message": "The job failed at step Compile.", "data": {}})]);
    timeline.task(&job, "Initialize job", SUCCEEDED, Some(5));
    timeline.task(&job, "Checkout", SUCCEEDED, Some(6));
    let compile = timeline.task(&job, "Compile", FAILED, Some(9));
    timeline.issues(
        &compile,
        &[
            json!({"type": "error", "category": "Code", "message": "src/basket.rs: mismatched types",
                "data": {"type": "error", "sourcepath": "src/basket.rs", "linenumber": "99", "columnnumber": "5", "code": "E0308", "logFileLineNumber": "417"}}),
            json!({"type": "error", "category": null, "message": "Bash exited with code '101'.", "data": {"type": "error"}}),
            json!({"type": "warning", "category": "Code", "message": "src/price.rs: unused variable: `rounding`",
                "data": {"type": "warning", "sourcepath": "src/price.rs", "linenumber": "12"}}),
        ],
    );
    timeline.task(&job, "Publish results", SKIPPED, None);
    timeline.task(&job, "Finalize Job", SUCCEEDED, None);
    timeline.stage("Package", "image", SKIPPED);
    let mut logs = agent_logs(start);
    logs.push(Log {
        id: 9,
        created: later(start, 14_626),
        text: LogText::Lines(compile_log()),
    });
    logs.push(lines(
        14,
        start,
        &[
            "##[section]Starting: linux",
            "##[error]The job failed at step Compile.",
        ],
    ));
    BuildProgress {
        records: Some(timeline.into_records()),
        earlier: Vec::new(),
        logs,
    }
}

/// The log of the failed compile step: the error at line 417, planted secrets and instructions before it.
fn compile_log() -> Vec<Cow<'static, str>> {
    let mut text: Vec<Cow<'static, str>> = vec![
        "##[section]Starting: Compile".into(),
        "##[command]/usr/bin/bash --noprofile --norc /home/vsts/work/_temp/compile.sh".into(),
        "##[debug]agent.jobstatus = Succeeded".into(),
        "##[group]Environment".into(),
        "REGISTRY_PASSWORD=***".into(),
        format!("NPM_TOKEN={}", SECRETS[0]).into(),
        format!(
            "STORAGE=DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={}",
            SECRETS[1]
        )
        .into(),
        format!(
            "DATABASE_URL=postgres://shop:{}@db.contoso.example/shop",
            SECRETS[3]
        )
        .into(),
        "##[endgroup]".into(),
    ];
    for index in 0..400_u32 {
        text.push(
            format!(
                "   Compiling dependency-{index:03} v1.{}.{}",
                index % 40,
                index % 7
            )
            .into(),
        );
    }
    text.truncate(400);
    text.extend([
        Cow::Owned(format!(
            "+ curl -sS -H 'Authorization: Bearer {}' https://feed.contoso.example/index",
            SECRETS[2]
        )),
        format!(
            "downloading https://artifacts.contoso.example/drop.zip?sig={}",
            SECRETS[4]
        )
        .into(),
        INSTRUCTIONS[0].into(),
        INSTRUCTIONS[1].into(),
        INSTRUCTIONS[2].into(),
        "   Compiling shop v2.4.0 (/home/vsts/work/1/s)".into(),
        "##[warning]unused variable: `rounding`".into(),
        "  --> src/price.rs:12:9".into(),
        "\u{1b}[33mwarning\u{1b}[0m: `shop` (lib) generated 1 warning".into(),
        "error[E0308]: mismatched types".into(),
        "  --> src/basket.rs:99:5".into(),
        "   |".into(),
        "98 | fn reduced(price: Cents) -> Cents {".into(),
        "   |                             ----- expected `Cents` because of return type".into(),
        "99 |     price.0 * 9 / 10".into(),
        "   |     ^^^^^^^^^^^^^^^^ expected `Cents`, found `u64`".into(),
        "##[error]src/basket.rs(99,5): error E0308: mismatched types".into(),
        "error: could not compile `shop` (lib) due to 1 previous error; 1 warning emitted".into(),
        "##[error]Bash exited with code '101'.".into(),
        "##[section]Finishing: Compile".into(),
    ]);
    text
}

/// Three attempts of one stage. The first attempt's timeline holds the retried records only, the second's
/// is the full old one: the service does both (azure-devops.md, section 4).
fn flaky_test(build: u32, start: Timestamp) -> BuildProgress {
    let full = |attempt: u32| {
        let mut timeline = Timeline::new(build, attempt, start);
        let (_, job) = timeline.stage("Build", "linux", SUCCEEDED);
        timeline.task(&job, "Compile", SUCCEEDED, Some(5));
        let (stage, job) = timeline.stage("Integration", "browser", FAILED);
        let test = timeline.task(&job, "Browser tests", FAILED, Some(10 + attempt));
        timeline.issues(
            &test,
            &[json!({"type": "error", "category": "General", "message": format!("checkout.spec: attempt {attempt} timed out after 30 s"),
                "data": {"type": "error", "logFileLineNumber": "4"}})],
        );
        (timeline, stage, job, test)
    };
    let (mut current, stage, job, test) = full(3);
    let (first, first_stage, first_job, first_test) = full(1);
    let (second, second_stage, second_job, second_test) = full(2);
    for (id, old) in [
        (&stage, [first_stage, second_stage]),
        (&job, [first_job.clone(), second_job]),
        (&test, [first_test.clone(), second_test]),
    ] {
        let attempts: Vec<Value> = (1_u32..)
            .zip(&old)
            .map(|(attempt, record)| json!({"attempt": attempt, "timelineId": earlier_timeline_id(build, attempt), "recordId": record}))
            .collect();
        current.set(id, "previousAttempts", json!(attempts));
    }
    let retried = [first_job, first_test];
    let only_retried = first.into_records().into_iter().filter(|record| {
        record
            .get("id")
            .and_then(Value::as_str)
            .is_some_and(|id| retried.iter().any(|old| old == id))
    });
    let earlier = vec![
        (earlier_timeline_id(build, 1), only_retried.collect()),
        (earlier_timeline_id(build, 2), second.into_records()),
    ];
    let mut logs = agent_logs(start);
    for id in [11, 12, 13] {
        logs.push(lines(
            id,
            later(start, 60_000),
            &[
                "##[section]Starting: Browser tests",
                "basket.spec ... ok",
                "checkout.spec ... waiting for #pay",
                "##[error]checkout.spec: timed out after 30 s",
                "##[section]Finishing: Browser tests",
            ],
        ));
    }
    BuildProgress {
        records: Some(current.into_records()),
        earlier,
        logs,
    }
}

/// A build that was stopped, or is, in its test step.
fn stopped(build: u32, start: Timestamp, standing: Standing) -> BuildProgress {
    let after = if standing == CANCELED {
        SKIPPED
    } else {
        Standing::Pending
    };
    let mut timeline = Timeline::new(build, 1, start);
    let (_, job) = timeline.stage("Build", "linux", standing);
    timeline.task(&job, "Initialize job", SUCCEEDED, Some(5));
    timeline.task(&job, "Checkout", SUCCEEDED, Some(6));
    timeline.task(&job, "Test", standing, Some(9));
    timeline.task(&job, "Publish results", after, None);
    let mut logs = agent_logs(start);
    logs.push(lines(
        9,
        later(start, 14_626),
        &[
            "##[section]Starting: Test",
            "##[command]cargo test --workspace",
            "running 214 tests",
            "test basket::reduced ... ok",
        ],
    ));
    BuildProgress {
        records: Some(timeline.into_records()),
        earlier: Vec::new(),
        logs,
    }
}

/// Built and deployed to Staging; Production waits for the approval, or goes on after it.
fn deployment(world: &World, build: u32, start: Timestamp) -> BuildProgress {
    let id = approval_id(build);
    let status = world
        .approvals
        .get(&id)
        .map_or("pending", |approval| approval.status.as_str());
    let (checkpoint_standing, stage_standing) = match status {
        "approved" => (SUCCEEDED, Standing::InProgress),
        "rejected" => (FAILED, SKIPPED),
        _ => (Standing::InProgress, Standing::Pending),
    };
    let mut timeline = Timeline::new(build, 1, start);
    let (_, job) = timeline.stage("Staging", "web", SUCCEEDED);
    timeline.task(&job, "Initialize job", SUCCEEDED, Some(5));
    timeline.task(&job, "Deploy", SUCCEEDED, Some(6));
    let stage = timeline.add("Stage", None, "Production", Some("Production"), stage_standing);
    let checkpoint = timeline.add(
        "Checkpoint",
        Some(&stage),
        "Checkpoint",
        None,
        checkpoint_standing,
    );
    let record = timeline.add(
        "Checkpoint.Approval",
        Some(&checkpoint),
        "Checkpoint.Approval",
        None,
        checkpoint_standing,
    );
    timeline.set(&record, "id", json!(id));
    timeline.add(
        "Checkpoint.ExtendsCheck",
        Some(&checkpoint),
        "Checkpoint.ExtendsCheck",
        None,
        SUCCEEDED,
    );
    let phase = timeline.add(
        "Phase",
        Some(&stage),
        "web",
        Some("Production.web"),
        Standing::Pending,
    );
    timeline.add(
        "Job",
        Some(&phase),
        "web",
        Some("Production.web.__default"),
        Standing::Pending,
    );
    BuildProgress {
        records: Some(timeline.into_records()),
        earlier: Vec::new(),
        logs: agent_logs(start),
    }
}
