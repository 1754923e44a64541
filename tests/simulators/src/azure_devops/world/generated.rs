//! A timeline and a log of any size, made when read.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    build_progress::BuildProgress,
    log::{Log, LogText},
    timeline::{FAILED, SUCCEEDED, Timeline},
    uuid_of,
};

/// As many records as asked for: jobs of fifty tasks, every thousandth task failed.
pub(super) fn progress(build: u32, start: Timestamp, records: u32, log_lines: u64) -> BuildProgress {
    let mut timeline = Timeline::new(build, 1, start);
    // Four of the records are one stage, its two checkpoints and its phase.
    let stage = timeline.add("Stage", None, "Nightly", Some("Nightly"), FAILED);
    let checkpoint = timeline.add("Checkpoint", Some(&stage), "Checkpoint", None, SUCCEEDED);
    timeline.add(
        "Checkpoint.Authorization",
        Some(&checkpoint),
        "Checkpoint.Authorization",
        None,
        SUCCEEDED,
    );
    let phase = timeline.add("Phase", Some(&stage), "matrix", Some("Nightly.matrix"), FAILED);
    let mut records_of_big = timeline.into_records();
    for index in 4..records {
        let in_job = (index - 4) % 51;
        let job_number = (index - 4) / 51;
        let job = uuid_of(&format!("record {build} job {job_number}"));
        let failed = index % 1_000 == 999;
        records_of_big.push(big_record(build, index, in_job, (&phase, &job), failed));
    }
    let logs = vec![Log {
        id: 7,
        created: start,
        text: LogText::Generated(log_lines),
    }];
    BuildProgress {
        records: Some(records_of_big),
        earlier: Vec::new(),
        logs,
    }
}

/// Written without the builder, which looks through all records for each new one.
fn big_record(
    build: u32,
    index: u32,
    in_job: u32,
    (phase, job): (&str, &str),
    failed: bool,
) -> Map<String, Value> {
    let mut record = Timeline::new(build, 1, Timestamp::UNIX_EPOCH);
    let standing = if failed { FAILED } else { SUCCEEDED };
    let (id, parent) = if in_job == 0 {
        (job.to_owned(), phase)
    } else {
        (uuid_of(&format!("record {build} task {index}")), job)
    };
    let kind = if in_job == 0 { "Job" } else { "Task" };
    let added = record.add(
        kind,
        Some(parent),
        &format!("{} {index:04}", kind.to_lowercase()),
        None,
        standing,
    );
    if kind == "Task" {
        record.set(&added, "log", record.log_reference(7));
        record.set(
            &added,
            "task",
            json!({"id": uuid_of("task CmdLine"), "name": "CmdLine", "version": "2.212.0"}),
        );
    }
    if failed {
        record.issues(
            &added,
            &[json!({"type": "error", "category": "General", "message": format!("suite {index:04} failed"), "data": {"logFileLineNumber": index.to_string()}})],
        );
    }
    record.set(&added, "order", json!(in_job.saturating_add(1)));
    record.set(&added, "id", json!(id));
    record.into_records().pop().unwrap_or_default()
}
