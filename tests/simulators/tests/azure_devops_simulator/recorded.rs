//! Compares the simulator's answers with recorded ones of Azure DevOps
//! (`mcp-server/tests/recorded/README.md`).

use std::collections::{BTreeMap, BTreeSet};

use behalf_simulators::people::ANA;
use serde_json::Value;

use crate::fixture::Bench;

const BUILDS: &str = include_str!("../../../../mcp-server/tests/recorded/builds.json");
const BUILDS_7_1: &str = include_str!("../../../../mcp-server/tests/recorded/builds-7.1.json");
const TIMELINE: &str = include_str!("../../../../mcp-server/tests/recorded/timeline.json");
const EARLIER: &str = include_str!("../../../../mcp-server/tests/recorded/timeline-earlier-attempt.json");
const DEPLOYMENTS: &str = include_str!("../../../../mcp-server/tests/recorded/deployments.json");

/// The kinds of value that stand at each place. Null fits everywhere: Azure DevOps leaves members out or says null.
#[derive(Default)]
struct Shape(BTreeMap<String, BTreeSet<&'static str>>);

impl Shape {
    fn of(texts: &[&str]) -> Self {
        let mut shape = Self::default();
        for text in texts {
            shape.read("", &serde_json::from_str(text).unwrap());
        }
        shape
    }

    fn read(&mut self, place: &str, value: &Value) {
        let kind = match value {
            Value::Null => return,
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.0.entry(place.to_owned()).or_default().insert(kind);
        match value {
            Value::Array(items) => {
                for item in items {
                    self.read(&format!("{place}[]"), item);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.read(&format!("{place}.{name}"), member);
                }
            }
            _ => {}
        }
    }

    /// Where both have values they are of one kind, and these `places` are in both.
    fn is_alike(&self, recorded: &Self, places: &[&str]) {
        for (place, kinds) in &self.0 {
            if let Some(recorded) = recorded.0.get(place) {
                assert!(
                    !kinds.is_disjoint(recorded),
                    "{place}: {kinds:?}, but really {recorded:?}"
                );
            }
        }
        for place in places {
            assert!(recorded.0.contains_key(*place), "{place} was not recorded");
            assert!(self.0.contains_key(*place), "{place} is missing in the simulator");
        }
    }
}

async fn simulated(path: &str) -> Shape {
    let bench = Bench::start().await;
    let answer = if path.contains("/release/") {
        bench.get_release(ANA, path).await
    } else {
        bench.get(ANA, path).await
    };
    let text = answer.ok().json().to_string();
    Shape::of(&[&text])
}

#[tokio::test]
async fn builds_have_the_recorded_shape() {
    let places = [
        ".count",
        ".value[].id",
        ".value[].buildNumber",
        ".value[].status",
        ".value[].result",
        ".value[].reason",
        ".value[].queueTime",
        ".value[].startTime",
        ".value[].finishTime",
        ".value[].sourceBranch",
        ".value[].sourceVersion",
        ".value[].definition.id",
        ".value[].definition.name",
        ".value[].project.id",
        ".value[].project.visibility",
        ".value[].requestedFor.displayName",
        ".value[].requestedFor.uniqueName",
        ".value[].lastChangedBy.id",
        ".value[]._links.web.href",
        ".value[]._links.timeline.href",
    ];
    let recorded = Shape::of(&[BUILDS, BUILDS_7_1]);
    simulated("/shop/_apis/build/builds")
        .await
        .is_alike(&recorded, &places);
}

#[tokio::test]
async fn timelines_have_the_recorded_shape() {
    let places = [
        ".id",
        ".changeId",
        ".lastChangedBy",
        ".lastChangedOn",
        ".url",
        ".records[].id",
        ".records[].parentId",
        ".records[].type",
        ".records[].name",
        ".records[].identifier",
        ".records[].state",
        ".records[].result",
        ".records[].order",
        ".records[].attempt",
        ".records[].errorCount",
        ".records[].log.id",
        ".records[].log.type",
        ".records[].task.id",
        ".records[].task.version",
        ".records[].workerName",
        ".records[].issues[].type",
        ".records[].issues[].message",
        ".records[].issues[].data.logFileLineNumber",
        ".records[].issues[].data.linenumber",
    ];
    let recorded = Shape::of(&[TIMELINE, EARLIER]);
    simulated("/shop/_apis/build/builds/638/timeline")
        .await
        .is_alike(&recorded, &places);
}

#[tokio::test]
async fn deployments_have_the_recorded_shape() {
    let places = [
        ".count",
        ".value[].id",
        ".value[].release.id",
        ".value[].release.name",
        ".value[].release.webAccessUri",
        ".value[].releaseDefinition.name",
        ".value[].releaseEnvironment.name",
        ".value[].definitionEnvironmentId",
        ".value[].attempt",
        ".value[].reason",
        ".value[].deploymentStatus",
        ".value[].operationStatus",
        ".value[].requestedFor.displayName",
        ".value[].queuedOn",
        ".value[].startedOn",
        ".value[].lastModifiedOn",
        ".value[].conditions",
        ".value[].preDeployApprovals",
    ];
    let recorded = Shape::of(&[DEPLOYMENTS]);
    simulated("/shop/_apis/release/deployments")
        .await
        .is_alike(&recorded, &places);
}

#[test]
fn a_member_of_another_kind_is_noticed() {
    let recorded = Shape::of(&[r#"{"a": [{"b": 1}], "c": null}"#]);
    Shape::of(&[r#"{"a": [{"b": 2}], "c": "any"}"#]).is_alike(&recorded, &[".a[].b"]);
    let other = Shape::of(&[r#"{"a": [{"b": "2"}]}"#]);
    let result = std::panic::catch_unwind(|| other.is_alike(&recorded, &[]));
    assert!(result.is_err());
}
