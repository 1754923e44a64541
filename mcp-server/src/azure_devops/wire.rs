//! The members of Azure DevOps' answers that the tools use. Other members are not read, so they cannot leak: mail
//! addresses, descriptors, avatars, signed addresses, tokens. Enumerations are strings, because a new value must not
//! fail a whole list. Absent, null and empty mean the same.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::date;
use super::scalar::Scalar;

/// The envelope of every list.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    #[serde(default = "Vec::new")]
    pub(crate) value: Vec<T>,
}

/// A build. A pipeline run is a build with the same id.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Build {
    pub(crate) id: i64,
    #[serde(rename = "buildNumber")]
    pub(crate) number: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) queue_time: Option<Timestamp>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) start_time: Option<Timestamp>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) finish_time: Option<Timestamp>,
    pub(crate) source_branch: Option<String>,
    pub(crate) source_version: Option<String>,
    pub(crate) definition: Option<Named>,
    pub(crate) project: Option<Project>,
    pub(crate) requested_for: Option<Person>,
    /// Why a run did not start, for example because its pipeline file does not parse.
    #[serde(deserialize_with = "or_default")]
    pub(crate) validation_results: Vec<ValidationResult>,
    #[serde(rename = "_links")]
    pub(crate) links: Option<Links>,
}

/// A reference with an id and a name.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) id: Option<i64>,
    pub(crate) name: Option<String>,
}

/// A pipeline, with the project that owns it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Definition {
    pub(crate) project: Option<Project>,
}

/// A project; its id is a GUID.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Project {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

/// A person. Only the display name is read.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Person {
    pub(crate) display_name: Option<String>,
}

/// The links of a resource.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Links {
    pub(crate) web: Option<Link>,
}

/// A link for a browser.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Link {
    pub(crate) href: Option<String>,
}

/// One finding about a run that could not start.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct ValidationResult {
    pub(crate) result: Option<String>,
    pub(crate) message: Option<String>,
}

/// The records of a run, which form a tree.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Timeline {
    #[serde(deserialize_with = "or_default")]
    pub(crate) records: Vec<Record>,
}

/// A stage, phase, job, task or checkpoint of a run.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) parent_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) result: Option<String>,
    /// Checkpoints have none.
    pub(crate) order: Option<i64>,
    pub(crate) attempt: Option<i64>,
    pub(crate) log: Option<LogReference>,
    /// Absent when empty.
    #[serde(deserialize_with = "or_default")]
    pub(crate) issues: Vec<Issue>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) previous_attempts: Vec<PreviousAttempt>,
}

/// The log of a record.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub(crate) struct LogReference {
    pub(crate) id: i64,
}

/// An error or warning that a task reported.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Issue {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
    /// Data that the task reported beside the message: the first [`MAX_DATA`]. The author of the pipeline chooses the keys.
    #[serde(deserialize_with = "data")]
    pub(crate) data: BTreeMap<String, Scalar>,
}

/// A reference to the timeline of an earlier attempt of a retried record.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PreviousAttempt {
    pub(crate) attempt: Option<i64>,
    pub(crate) timeline_id: Option<String>,
}

/// A log and its length.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Log {
    pub(crate) id: i64,
    pub(crate) line_count: Option<i64>,
}

/// A new run, as the endpoint that queues it returns it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) name: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) result: Option<String>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) created_date: Option<Timestamp>,
    pub(crate) pipeline: Option<Named>,
    pub(crate) resources: Option<RunResources>,
    #[serde(rename = "_links")]
    pub(crate) links: Option<Links>,
}

/// The resources of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RunResources {
    #[serde(deserialize_with = "or_default")]
    pub(crate) repositories: BTreeMap<String, RunRepository>,
}

/// A repository among the resources of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RunRepository {
    pub(crate) ref_name: Option<String>,
}

/// A classic deployment.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deployment {
    pub(crate) id: i64,
    pub(crate) attempt: Option<i64>,
    pub(crate) reason: Option<String>,
    #[serde(rename = "deploymentStatus")]
    pub(crate) status: Option<String>,
    /// Documented in camel case, but sent in Pascal case.
    pub(crate) operation_status: Option<String>,
    pub(crate) release: Option<Release>,
    pub(crate) release_definition: Option<Named>,
    pub(crate) release_environment: Option<Named>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) queued_on: Option<Timestamp>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) started_on: Option<Timestamp>,
    #[serde(deserialize_with = "date::lenient")]
    pub(crate) last_modified_on: Option<Timestamp>,
    pub(crate) requested_for: Option<Person>,
}

/// A classic release.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Release {
    pub(crate) id: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) web_access_uri: Option<String>,
}

/// Maximum number of entries of [`Issue::data`] that are kept. Azure DevOps writes about six.
const MAX_DATA: usize = 100;

/// Deserializes at most [`MAX_DATA`] entries, and null as none.
fn data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Scalar>, D::Error> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = BTreeMap<String, Scalar>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut first = BTreeMap::new();
            while first.len() < MAX_DATA {
                let Some((key, datum)) = entries.next_entry()? else {
                    return Ok(first);
                };
                first.insert(key, datum);
            }
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    deserializer.deserialize_any(First)
}

/// Deserializes null as absent.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns true if a value of an enumeration is `expected`. The service sends camel case and Pascal case.
pub(crate) fn is(value: Option<&str>, expected: &str) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case(expected))
}

/// Returns the value of an enumeration in camel case.
pub(crate) fn camel(value: &str) -> String {
    let mut characters = value.chars();
    match characters.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + characters.as_str(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_null_and_unknown_values_do_not_fail_a_list() {
        let list: List<Build> = serde_json::from_str(
            r#"{"count":2,"value":[
                {"id":1,"status":"someNewState","queueTime":"0001-01-01T00:00:00","validationResults":null},
                {"id":2,"status":null,"definition":{"id":7},"requestedFor":{"uniqueName":"ana@contoso.example"}}]}"#,
        )
        .unwrap();
        assert_eq!(list.value[0].status.as_deref(), Some("someNewState"));
        assert!(list.value[0].queue_time.is_none() && list.value[0].finish_time.is_none());
        assert_eq!(list.value[1].definition.as_ref().unwrap().id, Some(7));
        assert!(!format!("{list:?}").contains("ana@"));
    }

    #[test]
    fn the_first_data_of_an_issue_are_kept() {
        let entries: Vec<String> = (0..5_000)
            .map(|number| format!("\"{number}\": {number}"))
            .collect();
        let issue =
            |data: &str| serde_json::from_str::<Issue>(&format!(r#"{{"data": {data}, "message": "m"}}"#));
        let long = issue(&format!("{{{}}}", entries.join(","))).unwrap();
        assert_eq!(long.data.len(), MAX_DATA);
        assert_eq!(long.message.as_deref(), Some("m"));
        assert!(issue("null").unwrap().data.is_empty());
        assert_eq!(issue(r#"{"code": "x"}"#).unwrap().data.len(), 1);
    }

    #[test]
    fn pascal_case_becomes_camel_case() {
        assert_eq!(camel("PhaseFailed"), "phaseFailed");
        assert_eq!(camel(""), "");
        assert!(is(Some("Failed"), "failed") && !is(None, "failed"));
    }
}
