//! The contents of the organization. Routes read and change them, `demo` fills them.

mod build_progress;
mod demo;
mod generated;
mod ids;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod planted;
pub(crate) mod story;
mod table;
mod timeline;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub(super) use self::ids::{commit_of, uuid_of};
use self::model::{Approval, Build, Definition, Deployment, Environment, EnvironmentRecord, Project};

/// Everything in the organization.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) projects: Vec<Project>,
    pub(super) definitions: BTreeMap<u32, Definition>,
    pub(super) builds: BTreeMap<u32, Build>,
    pub(super) deployments: BTreeMap<u32, Deployment>,
    pub(super) environments: Vec<Environment>,
    pub(super) environment_records: Vec<EnvironmentRecord>,
    /// Approvals of YAML pipelines.
    pub(super) approvals: BTreeMap<String, Approval>,
    /// Approvals of classic releases, by their number.
    pub(super) release_approvals: BTreeMap<u32, model::ReleaseApproval>,
}

impl World {
    pub(super) fn definition_of(&self, build: &Build) -> Option<&Definition> {
        self.definitions.get(&build.definition)
    }

    /// A project by name or id, without regard to case.
    pub(super) fn project(&self, name_or_id: &str) -> Option<&Project> {
        self.projects.iter().find(|project| {
            project.name.eq_ignore_ascii_case(name_or_id) || project.id.eq_ignore_ascii_case(name_or_id)
        })
    }

    /// Build ids and run ids are one sequence of the organization.
    pub(super) fn next_build_id(&self) -> u32 {
        self.builds
            .last_key_value()
            .map_or(1, |(last, _)| last.saturating_add(1))
    }

    /// `20260401.4`: the date and the how-manieth build of the pipeline on it.
    pub(super) fn next_build_number(&self, definition: u32, now: Timestamp) -> String {
        let day = now.strftime("%Y%m%d").to_string();
        let prefix = format!("{day}.");
        let today = self
            .builds
            .values()
            .filter(|build| build.definition == definition)
            .filter_map(|build| build.number.strip_prefix(&prefix)?.parse::<u32>().ok())
            .max()
            .unwrap_or(0);
        format!("{day}.{}", today.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_numbers_go_on_within_the_day() {
        let now: Timestamp = "2026-04-01T12:00:00Z".parse().unwrap();
        let world = World::demo(now);
        let first = world.next_build_number(999, now);
        assert_eq!(first, "20260401.1");
        let taken: Vec<&str> = world.builds.values().map(|build| build.number.as_str()).collect();
        assert!(!taken.contains(&world.next_build_number(178, now).as_str()));
    }
}
