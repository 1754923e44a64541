//! Finds the failed steps of a run in its timeline. Does no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::step_issue::StepIssue;
use crate::azure_devops::wire::{Issue, Record, Timeline, camel, is};
use crate::tools::fields::name;

/// Maximum number of issues of one step in an answer.
const MAX_ISSUES: usize = 10;

/// Maximum number of ancestors. A timeline has stage, phase, job and task; a broken one may have a circle.
const MAX_DEPTH: usize = 16;

/// A failed record of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) stage: Option<String>,
    pub(crate) job: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) result: String,
    pub(crate) attempt: i64,
    pub(crate) retried: bool,
    pub(crate) issues: Vec<StepIssue>,
    /// Number of issues beyond [`MAX_ISSUES`].
    pub(crate) more_issues: usize,
    pub(crate) log: Option<i64>,
}

/// Returns the ids of the timelines of earlier attempts, the latest first.
pub(crate) fn earlier_attempts(timeline: &Timeline) -> Vec<String> {
    let mut found: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for attempt in timeline
        .records
        .iter()
        .flat_map(|record| &record.previous_attempts)
    {
        if let Some(id) = attempt.timeline_id.as_deref() {
            found
                .entry(attempt.attempt.unwrap_or_default())
                .or_default()
                .insert(id);
        }
    }
    let mut seen = BTreeSet::new();
    found
        .into_iter()
        .rev()
        .flat_map(|(_, ids)| ids)
        .filter(|id| seen.insert(*id))
        .map(str::to_owned)
        .collect()
}

/// Returns the failed tasks, and other failed records without a failed record below them, such as a job whose agent
/// was lost. `earlier` are the timelines of earlier attempts. They contain the retried records or all records.
pub(crate) fn steps(current: &Timeline, earlier: &[Timeline]) -> Vec<Step> {
    let mut tree = Tree::default();
    // Earlier timelines may contain copies of current records. The current ones win.
    for timeline in std::iter::once(current).chain(earlier) {
        for record in &timeline.records {
            tree.records.entry(record.id.as_str()).or_insert(record);
        }
    }
    let in_current: BTreeSet<&str> = current.records.iter().map(|record| record.id.as_str()).collect();
    let mut failed: Vec<(&Record, bool)> = tree
        .records
        .values()
        .filter(|record| has_failed(record))
        .map(|record| (*record, !in_current.contains(record.id.as_str())))
        .collect();
    let with_failed_child: BTreeSet<&str> = failed
        .iter()
        .flat_map(|(record, _)| tree.ancestors(record))
        .map(|ancestor| ancestor.id.as_str())
        .collect();
    failed.retain(|(record, _)| {
        is(record.kind.as_deref(), "Task") || !with_failed_child.contains(record.id.as_str())
    });
    // Current before earlier ones, then in the order of the run.
    failed.sort_by_cached_key(|(record, retried)| (*retried, tree.position(record), record.id.clone()));
    failed
        .into_iter()
        .map(|(record, retried)| tree.step(record, retried))
        .collect()
}

/// Returns the names of the stages that wait for an approval.
pub(crate) fn pending_approvals(timeline: &Timeline) -> Vec<String> {
    let mut tree = Tree::default();
    tree.records
        .extend(timeline.records.iter().map(|record| (record.id.as_str(), record)));
    let waiting = timeline.records.iter().filter(|record| {
        is(record.kind.as_deref(), "Checkpoint.Approval") && is(record.state.as_deref(), "inProgress")
    });
    waiting
        .map(|record| {
            tree.ancestor_name(record, "Stage")
                .unwrap_or_else(|| "a stage without a name".to_owned())
        })
        .collect()
}

fn has_failed(record: &Record) -> bool {
    // The error count is no criterion: it is 0 for failed stages and phases.
    is(record.result.as_deref(), "failed") || is(record.result.as_deref(), "abandoned")
}

/// The records of a timeline by id.
#[derive(Default)]
struct Tree<'timeline> {
    records: HashMap<&'timeline str, &'timeline Record>,
}

impl<'timeline> Tree<'timeline> {
    /// Returns the ancestors, the parent first.
    fn ancestors(&self, record: &'timeline Record) -> Vec<&'timeline Record> {
        let parent = |record: &&'timeline Record| self.records.get(record.parent_id.as_deref()?).copied();
        std::iter::successors(Some(record), parent)
            .skip(1)
            .take(MAX_DEPTH)
            .collect()
    }

    fn ancestor_name(&self, record: &'timeline Record, kind: &str) -> Option<String> {
        let ancestors = self.ancestors(record);
        let found = ancestors
            .iter()
            .find(|ancestor| is(ancestor.kind.as_deref(), kind))?;
        // The name of the stage of a pipeline without stages.
        name(found.name.as_deref()).filter(|name| name != "__default")
    }

    /// Returns the `order` of each record from the root to `record`.
    fn position(&self, record: &'timeline Record) -> Vec<i64> {
        let mut orders: Vec<i64> = self
            .ancestors(record)
            .iter()
            .map(|ancestor| ancestor.order.unwrap_or_default())
            .collect();
        orders.reverse();
        orders.push(record.order.unwrap_or_default());
        orders
    }

    fn step(&self, record: &'timeline Record, retried: bool) -> Step {
        let own = name(record.name.as_deref()).filter(|name| name != "__default");
        let kind = record.kind.as_deref();
        let (stage, job, task) = if is(kind, "Stage") {
            (own, None, None)
        } else if is(kind, "Job") || is(kind, "Phase") {
            (self.ancestor_name(record, "Stage"), own, None)
        } else {
            let job = self
                .ancestor_name(record, "Job")
                .or_else(|| self.ancestor_name(record, "Phase"));
            (self.ancestor_name(record, "Stage"), job, own)
        };
        // Errors first, so that the limit does not cut them off.
        let mut issues: Vec<&Issue> = record.issues.iter().collect();
        issues.sort_by_key(|issue| !is(issue.kind.as_deref(), "error"));
        Step {
            stage,
            job,
            task,
            result: camel(record.result.as_deref().unwrap_or_default()),
            attempt: record.attempt.unwrap_or(1).max(1),
            retried,
            issues: issues
                .iter()
                .take(MAX_ISSUES)
                .map(|issue| StepIssue::new(issue))
                .collect(),
            more_issues: issues.len().saturating_sub(MAX_ISSUES),
            log: record.log.map(|log| log.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn timeline(records: Value) -> Timeline {
        Timeline {
            records: serde_json::from_value(records).unwrap(),
        }
    }

    fn failed_run() -> Timeline {
        timeline(json!([
            {"id": "s1", "parentId": null, "type": "Stage", "name": "Build", "state": "completed", "result": "failed", "order": 1, "errorCount": 0, "log": null, "previousAttempts": []},
            {"id": "p1", "parentId": "s1", "type": "Phase", "name": "linux", "result": "failed", "order": 1},
            {"id": "j1", "parentId": "p1", "type": "Job", "name": "linux", "result": "failed", "order": 1, "log": {"id": 14}, "issues": null},
            {"id": "t2", "parentId": "j1", "type": "Task", "name": "Test", "result": "failed", "order": 3, "log": {"id": 10}},
            {"id": "t1", "parentId": "j1", "type": "Task", "name": "Compile", "result": "failed", "order": 2, "attempt": 1, "log": {"id": 9},
             "issues": [
                {"type": "warning", "category": null, "message": "old syntax"},
                {"type": "error", "category": "Code", "message": "mismatched types", "data": {"sourcepath": "src/app.rs", "linenumber": "99", "code": "E0308", "logFileLineNumber": "1017"}}]},
            {"id": "t0", "parentId": "j1", "type": "Task", "name": "Checkout", "result": "succeeded", "order": 1, "log": {"id": 8}},
            {"id": "c1", "parentId": "s1", "type": "Checkpoint", "name": "Checkpoint", "result": "succeeded"},
        ]))
    }

    #[test]
    fn lists_failed_tasks_in_order_with_their_path() {
        let steps = steps(&failed_run(), &[]);
        let paths: Vec<_> = steps
            .iter()
            .map(|step| {
                (
                    step.stage.as_deref(),
                    step.job.as_deref(),
                    step.task.as_deref(),
                    step.log,
                )
            })
            .collect();
        assert_eq!(
            paths,
            [
                (Some("Build"), Some("linux"), Some("Compile"), Some(9)),
                (Some("Build"), Some("linux"), Some("Test"), Some(10)),
            ]
        );
        assert_eq!(steps[0].issues[0].severity, "error");
        assert_eq!(steps[0].issues[0].log_line.as_deref(), Some("1017"));
    }

    #[test]
    fn lists_a_job_that_lost_its_agent_without_a_task() {
        let steps = steps(
            &timeline(json!([
                {"id": "s", "type": "Stage", "name": "__default", "result": "failed"},
                {"id": "j", "parentId": "s", "type": "Job", "name": "linux", "result": "abandoned",
                 "issues": [{"type": "error", "message": "We stopped hearing from agent"}]},
                {"id": "t", "parentId": "j", "type": "Task", "name": "Compile", "result": "canceled"},
            ])),
            &[],
        );
        assert_eq!(steps.len(), 1);
        assert_eq!(
            (steps[0].stage.as_deref(), steps[0].job.as_deref()),
            (None, Some("linux"))
        );
        assert_eq!(
            (steps[0].task.as_deref(), steps[0].result.as_str()),
            (None, "abandoned")
        );
    }

    #[test]
    fn lists_an_earlier_attempt_after_the_current_one_with_its_path() {
        let current = timeline(json!([
            {"id": "s", "type": "Stage", "name": "Build", "result": "failed", "attempt": 2,
             "previousAttempts": [{"attempt": 1, "timelineId": "old", "recordId": "s"}]},
            {"id": "j2", "parentId": "s", "type": "Job", "name": "linux", "result": "failed"},
            {"id": "t2", "parentId": "j2", "type": "Task", "name": "Compile", "result": "failed", "attempt": 2},
        ]));
        let earlier = timeline(json!([
            {"id": "j1", "parentId": "s", "type": "Job", "name": "linux", "result": "failed", "attempt": 1},
            {"id": "t1", "parentId": "j1", "type": "Task", "name": "Compile", "result": "failed", "attempt": 1},
        ]));
        assert_eq!(earlier_attempts(&current), ["old"]);
        let steps = steps(&current, &[earlier]);
        assert_eq!(
            steps
                .iter()
                .map(|step| (step.attempt, step.retried))
                .collect::<Vec<_>>(),
            [(2, false), (1, true)]
        );
        assert_eq!(steps[1].stage.as_deref(), Some("Build"));
    }

    #[test]
    fn a_circle_of_parents_ends_the_search() {
        let steps = steps(
            &timeline(json!([
                {"id": "a", "parentId": "b", "type": "Task", "name": "A", "result": "failed"},
                {"id": "b", "parentId": "a", "type": "Job", "name": "B", "result": "failed"},
            ])),
            &[],
        );
        assert_eq!(steps.len(), 1);
    }

    #[test]
    fn names_the_stage_that_waits_for_an_approval() {
        let timeline = timeline(json!([
            {"id": "s", "type": "Stage", "name": "Deploy", "state": "pending"},
            {"id": "c", "parentId": "s", "type": "Checkpoint", "state": "inProgress"},
            {"id": "x", "parentId": "c", "type": "Checkpoint.Approval", "state": "inProgress"},
            {"id": "y", "parentId": "c", "type": "Checkpoint.Approval", "state": "completed"},
        ]));
        assert_eq!(pending_approvals(&timeline), ["Deploy"]);
    }

    #[test]
    fn counts_issues_beyond_the_limit_and_lists_errors_first() {
        let mut issues = vec![json!({"type": "warning", "message": "w"}); 30];
        issues.push(json!({"type": "error", "message": "password=hunter2hunter2 leaked"}));
        let steps = steps(
            &timeline(json!([{"id": "t", "type": "Task", "result": "failed", "issues": issues}])),
            &[],
        );
        assert_eq!((steps[0].issues.len(), steps[0].more_issues), (10, 21));
        assert_eq!(steps[0].issues[0].message, "password=[redacted] leaked");
    }

    #[test]
    fn an_empty_timeline_has_no_failures() {
        assert!(steps(&Timeline::default(), &[]).is_empty());
    }
}
