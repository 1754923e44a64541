//! The things of the organization. States, results and reasons are strings: the wire knows values that no
//! list of ours does, and a test must be able to put them there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::uuid_of;
use crate::people::Person;

#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) visibility: String,
    pub(crate) updated: Timestamp,
}

impl Project {
    pub(crate) fn repository_id(&self) -> String {
        uuid_of(&format!("repository {}", self.name))
    }
}

/// A parameter that the YAML of a pipeline declares.
#[derive(Debug, Clone)]
pub(crate) struct TemplateParameter {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    /// Empty: any string.
    pub(crate) values: &'static [&'static str],
}

/// A build pipeline: "definition" in one API, "pipeline" in the other, one id.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) id: u32,
    pub(crate) project: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) yaml: String,
    pub(crate) queue_status: String,
    pub(crate) revision: u32,
    pub(crate) created: Timestamp,
    pub(crate) parameters: Vec<TemplateParameter>,
    pub(crate) stages: Vec<&'static str>,
    pub(crate) branches: Vec<&'static str>,
}

impl Definition {
    /// `178:shop-ci`, as permission errors name it.
    pub(crate) fn label(&self) -> String {
        format!("{}:{}", self.id, self.name)
    }
}

/// The course of a build. It decides timeline and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Story {
    /// Every step went well.
    Succeeded,

    /// The compiler refused; fake secrets and instructions to a model are planted in its log.
    CompileError,

    /// An integration test failed in three attempts of its stage.
    FlakyTest,

    /// Stopped by a person.
    Canceled,

    /// Good with warnings.
    PartiallySucceeded,

    /// In the middle of its test step.
    Running,

    /// Its deployment stage waits for a person.
    AwaitingApproval,

    /// No agent yet: the timeline is 204.
    Queued,

    /// A timeline of `records` records and one log of `log_lines` lines, both made when read.
    Generated {
        /// Number of records in the timeline.
        records: u32,

        /// Lines of the one big log, a hundred bytes each.
        #[serde(rename = "logLines")]
        log_lines: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) id: u32,
    pub(crate) definition: u32,
    pub(crate) number: String,
    pub(crate) status: String,
    pub(crate) result: Option<String>,
    pub(crate) reason: String,
    pub(crate) queued: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) branch: String,
    pub(crate) version: String,
    pub(crate) requested_for: Identity,
    pub(crate) template_parameters: BTreeMap<String, String>,
    pub(crate) tags: Vec<String>,
    pub(crate) story: Story,
}

impl Build {
    pub(crate) fn is_completed(&self) -> bool {
        self.status.eq_ignore_ascii_case("completed")
    }
}

/// A user, with all identifiers that the service sends and that no server should pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) object_id: String,
    pub(crate) display_name: String,
    pub(crate) unique_name: String,
}

impl From<Person> for Identity {
    fn from(person: Person) -> Self {
        Self {
            id: uuid_of(&format!("identity {}", person.object_id)),
            object_id: person.object_id.to_owned(),
            display_name: person.display_name.to_owned(),
            unique_name: person.user_name.to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) id: u32,
    pub(crate) project: String,
    pub(crate) release: u32,
    pub(crate) definition: u32,
    pub(crate) definition_name: String,
    pub(crate) definition_environment: u32,
    /// Id of the environment within the release.
    pub(crate) environment: u32,
    pub(crate) environment_name: String,
    pub(crate) attempt: u32,
    pub(crate) latest_attempt: bool,
    pub(crate) reason: String,
    pub(crate) status: String,
    pub(crate) operation_status: String,
    pub(crate) build: u32,
    pub(crate) branch: String,
    pub(crate) queued: Option<Timestamp>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) completed: Option<Timestamp>,
    pub(crate) modified: Timestamp,
    pub(crate) requested_for: Identity,
}

#[derive(Debug, Clone)]
pub(crate) struct ReleaseApproval {
    pub(crate) id: u32,
    pub(crate) project: String,
    pub(crate) deployment: u32,
    pub(crate) status: String,
    pub(crate) approver: Identity,
    pub(crate) comments: String,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) id: u32,
    pub(crate) project: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct EnvironmentRecord {
    pub(crate) id: u32,
    pub(crate) environment: u32,
    pub(crate) build: u32,
    pub(crate) stage: String,
    pub(crate) job: String,
    /// Absent while it runs.
    pub(crate) result: Option<String>,
    pub(crate) queued: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
}

/// An approval that a YAML stage waits for.
#[derive(Debug, Clone)]
pub(crate) struct Approval {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) build: u32,
    pub(crate) status: String,
    pub(crate) approver: Identity,
    pub(crate) comment: Option<String>,
    pub(crate) instructions: String,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}
