//! The search for an environment through pages of the list of deployments, and the position at which it continues.

use std::collections::BTreeSet;

use super::deployment::{ClassicDeployment, environment};
use crate::azure_devops::Page;
use crate::azure_devops::wire::Deployment;
use crate::tools::arguments::BadInput;
use crate::tools::projects::same_name;

/// A position in the list: a page of the service, and the number of its items to skip. Only a filtered list stops
/// inside a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) page: Option<String>,
    skip: usize,
}

impl Position {
    /// Reads a `continuation_token`.
    pub(super) fn read(token: Option<&str>) -> Result<Self, BadInput> {
        let Some(token) = token else {
            return Ok(Self::default());
        };
        let position = token.rsplit_once('~').and_then(|(page, skip)| {
            Some(Self {
                page: (!page.is_empty()).then(|| page.to_owned()),
                skip: skip.parse().ok()?,
            })
        });
        position.ok_or_else(|| {
            BadInput(
                "continuation_token is not from an earlier answer; leave it out to list from the beginning"
                    .to_owned(),
            )
        })
    }

    /// Returns the `continuation_token` of this position.
    pub(super) fn write(&self) -> String {
        format!("{}~{}", self.page.as_deref().unwrap_or_default(), self.skip)
    }

    /// Returns true for the beginning of the list.
    pub(super) fn is_first(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether the next page is needed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Page,
    Stop,
}

/// The search through the pages of the list. Does no I/O.
pub(super) struct Search<'call> {
    /// The environment to search for, if there is a filter.
    environment: Option<&'call str>,
    /// Maximum number of deployments to find.
    top: usize,
    pub(super) found: Vec<ClassicDeployment>,
    /// Environments of the deployments that the filter excluded.
    pub(super) others: BTreeSet<String>,
    /// The position at which the next call continues.
    pub(super) position: Position,
    /// True if the list has more deployments.
    pub(super) more: bool,
}

impl<'call> Search<'call> {
    pub(super) fn new(environment: Option<&'call str>, top: usize, start: Position) -> Self {
        Self {
            environment,
            top,
            found: Vec::new(),
            others: BTreeSet::new(),
            position: start,
            more: false,
        }
    }

    /// Adds the deployments of a page that pass the filter.
    pub(super) fn add(&mut self, page: &Page<Deployment>) -> Next {
        for deployment in page.items.iter().skip(self.position.skip) {
            if self.found.len() == self.top {
                self.more = true;
                return Next::Stop;
            }
            self.position.skip += 1;
            let environment = environment(deployment);
            match self.environment {
                Some(asked) if !environment.as_deref().is_some_and(|name| same_name(name, asked)) => {
                    self.others.extend(environment);
                }
                _ => self.found.push(ClassicDeployment::new(deployment)),
            }
        }
        self.more = page.continuation.is_some();
        if self.more {
            self.position = Position {
                page: page.continuation.clone(),
                skip: 0,
            };
        }
        if self.more && self.found.len() < self.top {
            Next::Page
        } else {
            Next::Stop
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn page(names: &[&str], continuation: Option<&str>) -> Page<Deployment> {
        let items = names
            .iter()
            .enumerate()
            .map(|(id, name)| {
                serde_json::from_value(json!({"id": id, "releaseEnvironment": {"name": name}})).unwrap()
            })
            .collect();
        Page {
            items,
            continuation: continuation.map(str::to_owned),
            _reserved: None,
        }
    }

    #[test]
    fn a_filtered_search_continues_at_the_next_deployment() {
        let pages = page(
            &["Staging", "Production", "Production", "Production"],
            Some("7~&"),
        );
        let mut search = Search::new(Some("production"), 2, Position::default());
        assert_eq!(search.add(&pages), Next::Stop);
        assert_eq!(
            search
                .found
                .iter()
                .map(|found| found.deployment_id)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert!(search.more);

        let token = search.position.write();
        let start = Position::read(Some(&token)).unwrap();
        let mut search = Search::new(Some("production"), 2, start);
        assert_eq!(search.add(&pages), Next::Page);
        assert_eq!(
            search
                .found
                .iter()
                .map(|found| found.deployment_id)
                .collect::<Vec<_>>(),
            [3]
        );
        assert_eq!(
            search.position,
            Position {
                page: Some("7~&".to_owned()),
                skip: 0
            }
        );
    }

    #[test]
    fn the_last_page_ends_the_search() {
        let mut search = Search::new(Some("Production"), 20, Position::default());
        assert_eq!(search.add(&page(&["Staging"], None)), Next::Stop);
        assert!(!search.more && search.others.contains("Staging"));
    }

    #[rstest]
    #[case("7~&~3", Some(("7~&", 3)))]
    #[case("~0", Some(("", 0)))]
    #[case("7", None)]
    #[case("7~x", None)]
    fn a_position_keeps_any_token_of_the_service(
        #[case] token: &str,
        #[case] expected: Option<(&str, usize)>,
    ) {
        let read = Position::read(Some(token)).ok();
        assert_eq!(
            read.as_ref()
                .map(|position| (position.page.as_deref().unwrap_or_default(), position.skip)),
            expected
        );
        if let Some(position) = read {
            assert_eq!(position.write(), token);
        }
    }
}
