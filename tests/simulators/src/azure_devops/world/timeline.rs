//! Timeline records and a builder that keeps their tree right.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::uuid_of;
use crate::azure_devops::clock;

/// The progress of a record: `state` and, when completed, `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Pending,
    InProgress,
    Completed(&'static str),
}

pub(crate) const SUCCEEDED: Standing = Standing::Completed("succeeded");
pub(crate) const FAILED: Standing = Standing::Completed("failed");
pub(crate) const SKIPPED: Standing = Standing::Completed("skipped");
pub(crate) const CANCELED: Standing = Standing::Completed("canceled");

/// Writes the records of one build, one after the other.
#[derive(Debug)]
pub(crate) struct Timeline {
    build: u32,
    attempt: u32,
    cursor: Timestamp,
    records: Vec<Map<String, Value>>,
}

impl Timeline {
    pub(crate) fn new(build: u32, attempt: u32, start: Timestamp) -> Self {
        Self {
            build,
            attempt,
            cursor: start,
            records: Vec::new(),
        }
    }

    pub(crate) fn into_records(self) -> Vec<Map<String, Value>> {
        self.records
    }

    /// Adds a record and gives its id. `path` distinguishes records of one name and makes the id stable.
    pub(crate) fn add(
        &mut self,
        kind: &'static str,
        parent: Option<&str>,
        name: &str,
        identifier: Option<&str>,
        standing: Standing,
    ) -> String {
        let id = uuid_of(&format!(
            "record {} {} {kind} {name} {}",
            self.build,
            self.attempt,
            parent.unwrap_or_default()
        ));
        let siblings = self.records.iter().filter(|record| {
            record.get("parentId").and_then(Value::as_str) == parent && record.contains_key("order")
        });
        let order = siblings.count().saturating_add(1);
        let (state, result) = match standing {
            Standing::Pending => ("pending", None),
            Standing::InProgress => ("inProgress", None),
            Standing::Completed(result) => ("completed", Some(result)),
        };
        let ran = !matches!(standing, Standing::Pending | SKIPPED);
        let started = ran.then_some(self.cursor);
        if ran && matches!(kind, "Task") {
            self.cursor = later(self.cursor, 7_313);
        }
        let finished = result.is_some().then_some(self.cursor).filter(|_| ran);
        let mut record = object(json!({
            "previousAttempts": [],
            "id": id,
            "parentId": parent,
            "type": kind,
            "name": name,
            "startTime": started.map(clock::wire),
            "finishTime": finished.map(clock::wire),
            "currentOperation": null,
            "percentComplete": (state == "inProgress").then_some(40),
            "state": state,
            "result": result,
            "resultCode": null,
            "changeId": self.records.len().saturating_add(1),
            "lastModified": clock::NULL_DATE,
            "workerName": (kind == "Job" && ran).then_some("Hosted Agent 3"),
            "details": null,
            "errorCount": 0,
            "warningCount": 0,
            "url": null,
            "log": null,
            "task": null,
            "attempt": self.attempt,
            "identifier": identifier,
        }));
        if kind == "Job" {
            record.insert("queueId".to_owned(), json!(121));
        }
        // Checkpoints have no order.
        if !kind.starts_with("Checkpoint") {
            record.insert("order".to_owned(), json!(order));
        }
        self.records.push(record);
        id
    }

    /// Adds a task with the log that belongs to it.
    pub(crate) fn task(&mut self, job: &str, name: &str, standing: Standing, log: Option<u32>) -> String {
        let id = self.add("Task", Some(job), name, None, standing);
        self.set(&id, "log", json!(log.map(|log| self.log_reference(log))));
        let task =
            json!({"id": uuid_of(&format!("task {name}")), "name": task_name(name), "version": "2.212.0"});
        self.set(&id, "task", task);
        id
    }

    /// Adds stage, checkpoint, phase and job; gives the ids of the stage and of the job.
    pub(crate) fn stage(&mut self, name: &str, job: &str, standing: Standing) -> (String, String) {
        let stage = self.add("Stage", None, name, Some(name), standing);
        let checkpoint = self.add("Checkpoint", Some(&stage), "Checkpoint", None, SUCCEEDED);
        self.add(
            "Checkpoint.Authorization",
            Some(&checkpoint),
            "Checkpoint.Authorization",
            None,
            SUCCEEDED,
        );
        let phase = self.add(
            "Phase",
            Some(&stage),
            job,
            Some(&format!("{name}.{job}")),
            standing,
        );
        let job = self.add(
            "Job",
            Some(&phase),
            job,
            Some(&format!("{name}.{job}.__default")),
            standing,
        );
        (stage, job)
    }

    /// Replaces one key of a record.
    pub(crate) fn set(&mut self, id: &str, key: &str, value: Value) {
        let found = self
            .records
            .iter_mut()
            .find(|record| record.get("id").and_then(Value::as_str) == Some(id));
        if let Some(record) = found {
            record.insert(key.to_owned(), value);
        }
    }

    /// Adds issues to a record. On stages and phases `errorCount` stays 0 even when they failed.
    pub(crate) fn issues(&mut self, id: &str, issues: &[Value]) {
        let count = |kind: &str| {
            issues
                .iter()
                .filter(|issue| issue.get("type") == Some(&json!(kind)))
                .count()
        };
        self.set(id, "errorCount", json!(count("error")));
        self.set(id, "warningCount", json!(count("warning")));
        self.set(id, "issues", json!(issues));
    }

    pub(crate) fn log_reference(&self, log: u32) -> Value {
        json!({
            "id": log,
            "type": "Container",
            "url": format!("https://dev.azure.com/contoso/_apis/build/Builds/{}/logs/{log}", self.build),
        })
    }
}

fn task_name(display_name: &str) -> &'static str {
    match display_name {
        "Initialize job" | "Finalize Job" => "Agent",
        "Checkout" => "Checkout",
        "Publish results" => "PublishTestResults",
        _ => "CmdLine",
    }
}

pub(crate) fn later(time: Timestamp, milliseconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_millis(milliseconds))
        .unwrap_or(time)
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
