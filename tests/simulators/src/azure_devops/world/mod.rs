//! The contents of the organization. Routes read and change them, `demo` fills them.

mod demo;
mod generated;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod planted;
pub(crate) mod story;
mod table;
mod timeline;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

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
    /// The organization `contoso` of the demo, as of `now`.
    pub(super) fn demo(now: Timestamp) -> Self {
        demo::world(now)
    }

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

/// A uuid that is always the same for the same words, so that the whole world is stable without a table.
pub(super) fn uuid_of(words: &str) -> String {
    let digest = hex(&Sha256::digest(words.as_bytes()));
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default().to_owned();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// A commit id that is always the same for the same words.
pub(super) fn commit_of(words: &str) -> String {
    hex(&Sha256::digest(words.as_bytes()))
        .get(..40)
        .unwrap_or_default()
        .to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
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

    #[test]
    fn uuids_are_stable_and_well_formed() {
        assert_eq!(uuid_of("a"), uuid_of("a"));
        assert_ne!(uuid_of("a"), uuid_of("b"));
        assert_eq!(uuid_of("a").len(), 36);
    }
}
