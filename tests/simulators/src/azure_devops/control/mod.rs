//! The control port: what a test, or a person at a demo, can make the simulator do, and see of it.
//!
//! Plain HTTP and no authentication: a client that reaches it can read all tokens that the simulator received. It
//! exists for tests only and belongs on loopback or inside a test cluster.

mod client;
mod routes;

use serde::{Deserialize, Serialize};

pub use self::client::Control;
pub(super) use self::routes::router;
use super::world::model::Story;

/// Builds to put into the organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBuild {
    /// Pipeline it is a build of.
    pub definition: u32,

    /// Any status, also one that no list knows.
    pub status: String,

    /// Any result; absent for an unfinished build.
    #[serde(default)]
    pub result: Option<String>,

    /// Any reason.
    #[serde(default = "manual")]
    pub reason: String,

    /// Full ref.
    #[serde(default = "main_branch")]
    pub branch: String,

    /// The course of the build, for timeline and logs.
    pub story: Story,

    /// Number of such builds.
    #[serde(default = "one")]
    pub copies: u32,
}

fn manual() -> String {
    "manual".to_owned()
}

fn main_branch() -> String {
    "refs/heads/main".to_owned()
}

fn one() -> u32 {
    1
}

impl NewBuild {
    /// A completed build.
    pub fn completed(definition: u32, result: &str, story: Story) -> Self {
        Self {
            definition,
            status: "completed".to_owned(),
            result: Some(result.to_owned()),
            reason: manual(),
            branch: main_branch(),
            story,
            copies: 1,
        }
    }
}

/// Changes of a build. Absent members stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BuildChange {
    /// New status. `completed` sets the time of finish, anything else takes it away.
    pub status: Option<String>,

    /// New result.
    pub result: Option<String>,

    /// New story.
    pub story: Option<Story>,
}

/// Values that leak tests search for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted {
    /// Fake credentials in logs.
    pub secrets: Vec<String>,

    /// Sentences in logs that try to make a model do something.
    pub instructions: Vec<String>,
}
