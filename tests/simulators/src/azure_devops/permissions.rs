//! The rights of each user, by `oid`, as in the service.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::people::{ANA, BEN, CAROL};

/// The rights of one user in the organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a permission of its own in the service too"
)]
pub struct Permissions {
    /// Names of the projects the user sees.
    pub projects: BTreeSet<String>,

    /// Build pipelines the user may not see, by definition id.
    pub hidden_definitions: BTreeSet<u32>,

    /// Classic release definitions the user may not see.
    pub hidden_release_definitions: BTreeSet<u32>,

    /// "Queue builds": run a pipeline, retry a build.
    pub queue_builds: bool,

    /// "Stop builds".
    pub stop_builds: bool,

    /// "Edit queue build configuration": `variables` in a run.
    pub edit_queue_build_configuration: bool,

    /// "View releases".
    pub view_releases: bool,

    /// "Manage deployments" and approvals of pipelines.
    pub approve: bool,

    /// Lists are 200 and empty: what a tenant mismatch can look like.
    pub empty_lists: bool,
}

impl Default for Permissions {
    /// A reader of nothing.
    fn default() -> Self {
        Self {
            projects: BTreeSet::new(),
            hidden_definitions: BTreeSet::new(),
            hidden_release_definitions: BTreeSet::new(),
            queue_builds: false,
            stop_builds: false,
            edit_queue_build_configuration: false,
            view_releases: true,
            approve: false,
            empty_lists: false,
        }
    }
}

/// The rights that the demo starts with.
pub(super) fn of_the_demo() -> BTreeMap<String, Permissions> {
    let ana = Permissions {
        projects: ["shop".to_owned()].into(),
        hidden_definitions: [181].into(),
        hidden_release_definitions: [5].into(),
        queue_builds: true,
        stop_builds: true,
        ..Permissions::default()
    };
    let ben = Permissions {
        projects: ["shop".to_owned(), "payments".to_owned()].into(),
        queue_builds: true,
        stop_builds: true,
        edit_queue_build_configuration: true,
        approve: true,
        ..Permissions::default()
    };
    let carol = Permissions {
        queue_builds: false,
        stop_builds: false,
        ..ana.clone()
    };
    [(ANA, ana), (BEN, ben), (CAROL, carol)]
        .into_iter()
        .map(|(person, permissions)| (person.object_id.to_owned(), permissions))
        .collect()
}
