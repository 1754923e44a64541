//! `list_deployments`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, BadInput};
use super::output::{ClassicDeployment, DeploymentList};
use super::projects::Projects;
use super::{ToolError, notes, reduce, schema};
use crate::azure_devops::{Call, DeploymentQuery, Page};

pub(super) const NAME: &str = "list_deployments";

const STATUSES: [&str; 6] = [
    "notDeployed",
    "inProgress",
    "succeeded",
    "partiallySucceeded",
    "failed",
    "all",
];

/// With a filter by environment, which the service does not have by name, so many parts of the list are
/// searched in one call.
const PAGES: usize = 5;

/// So many deployments are read at once then.
const PAGE: usize = 100;

pub(super) fn tool(projects: &Projects) -> Tool {
    Tool::new(
        NAME,
        "Lists deployments of classic releases, newest first, by environment and status.",
        input(projects),
    )
    .with_title("List deployments")
    .with_raw_output_schema(schema::output::<DeploymentList>())
    .with_annotations(
        ToolAnnotations::with_title("List deployments")
            .read_only(true)
            .destructive(false)
            .idempotent(true)
            .open_world(true),
    )
}

fn input(projects: &Projects) -> Arc<JsonObject> {
    let (project, required) = super::project_property(projects);
    schema::input(
        json!({
            "environment": {
                "type": "string",
                "description": "Only deployments to the environment with this name, for example Production.",
            },
            "status": {"type": "string", "enum": STATUSES, "description": "Only deployments with this status."},
            "top": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "description": "How many deployments."},
            "project": project,
            "continuation_token": {
                "type": "string",
                "description": "From an earlier answer, to go on where it ended; with the same other arguments.",
            },
        }),
        &required,
    )
}

/// What the model asked for.
#[derive(Debug)]
pub(super) struct Question {
    project: String,
    environment: Option<String>,
    status: Option<&'static str>,
    top: usize,
    from: Position,
}

/// Where to go on: a part of the service's list, and how many of its items were shown already. Only with a
/// filter is a part shown in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Position {
    page: Option<String>,
    skip: usize,
}

impl Position {
    fn read(token: Option<&str>) -> Result<Self, BadInput> {
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
                "continuation_token is not one of an earlier answer; leave it out to begin again".to_owned(),
            )
        })
    }

    fn write(&self) -> String {
        format!("{}~{}", self.page.as_deref().unwrap_or_default(), self.skip)
    }
}

pub(super) fn read(values: Map<String, Value>, projects: &Projects) -> Result<Question, BadInput> {
    let known = ["environment", "status", "top", "project", "continuation_token"];
    let arguments = Arguments::new(values, &known)?;
    let status = arguments.text("status")?.map(status).transpose()?;
    Ok(Question {
        project: projects.choose(arguments.text("project")?)?,
        environment: arguments.text("environment")?.map(str::to_owned),
        status: status.filter(|status| *status != "all"),
        top: super::top(&arguments)?,
        from: Position::read(arguments.text("continuation_token")?)?,
    })
}

fn status(asked: &str) -> Result<&'static str, BadInput> {
    STATUSES
        .into_iter()
        .find(|status| status.eq_ignore_ascii_case(asked))
        .ok_or_else(|| {
            BadInput(format!(
                "there is no deployment status {:?}; use one of {}",
                asked.chars().take(60).collect::<String>(),
                STATUSES.join(", ")
            ))
        })
}

pub(super) async fn answer(call: &Call, question: Question) -> Result<DeploymentList, ToolError> {
    let mut search = Search::new(&question);
    // Without a filter one part has all that is asked for.
    let (pages, size) = if question.environment.is_some() {
        (PAGES, PAGE)
    } else {
        (1, question.top)
    };
    for _ in 0..pages {
        let query = DeploymentQuery {
            status: question.status,
            top: size,
            continuation: search.position.page.as_deref(),
        };
        let page = call.deployments(&question.project, &query).await?;
        if search.take(&page) == Next::Stop {
            break;
        }
    }
    let note = search.note(call).await;
    Ok(DeploymentList {
        project: question.project.clone(),
        continuation_token: search.more.then(|| search.position.write()),
        deployments: search.found,
        note,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Page,
    Stop,
}

/// The search through parts of the list. Pure but for [`Search::note`].
struct Search<'question> {
    question: &'question Question,
    found: Vec<ClassicDeployment>,
    /// Environments that were passed over.
    others: BTreeSet<String>,
    /// Where the next call goes on.
    position: Position,
    more: bool,
}

impl<'question> Search<'question> {
    fn new(question: &'question Question) -> Self {
        Self {
            question,
            found: Vec::new(),
            others: BTreeSet::new(),
            position: question.from.clone(),
            more: false,
        }
    }

    fn take(&mut self, page: &Page<crate::azure_devops::wire::Deployment>) -> Next {
        for deployment in page.items.iter().skip(self.position.skip) {
            if self.found.len() == self.question.top {
                self.more = true;
                return Next::Stop;
            }
            self.position.skip += 1;
            let environment = reduce::environment(deployment);
            match &self.question.environment {
                Some(asked)
                    if !environment
                        .as_deref()
                        .is_some_and(|name| super::projects::equal(name, asked)) =>
                {
                    self.others.extend(environment);
                }
                _ => self.found.push(reduce::deployment(deployment)),
            }
        }
        self.more = page.continuation.is_some();
        if self.more {
            self.position = Position {
                page: page.continuation.clone(),
                skip: 0,
            };
        }
        if self.more && self.found.len() < self.question.top {
            Next::Page
        } else {
            Next::Stop
        }
    }

    async fn note(&self, call: &Call) -> Option<String> {
        if !self.found.is_empty() {
            return None;
        }
        let Some(asked) = &self.question.environment else {
            return match self.question.from {
                Position { page: None, skip: 0 } => Some(notes::nothing_found(call, "deployments").await),
                _ => None,
            };
        };
        let asked: String = asked.chars().take(100).collect();
        Some(if self.others.is_empty() {
            notes::nothing_found(call, "deployments").await
        } else {
            let others: Vec<&str> = self.others.iter().take(20).map(String::as_str).collect();
            let searched = if self.more {
                " among those searched so far"
            } else {
                ""
            };
            format!(
                "No deployment to an environment named {asked:?}{searched}; there are deployments to: {}.",
                others.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::azure_devops::wire::Deployment;

    fn question(values: Value) -> Question {
        let Value::Object(values) = values else {
            panic!("not an object")
        };
        read(values, &Projects::new(vec!["shop".to_owned()])).unwrap()
    }

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
            _taken: None,
        }
    }

    #[test]
    fn a_filtered_search_goes_on_exactly_where_it_stopped() {
        let pages = page(
            &["Staging", "Production", "Production", "Production"],
            Some("7~&"),
        );
        let first = question(json!({"environment": "production", "top": 2}));
        let mut search = Search::new(&first);
        assert_eq!(search.take(&pages), Next::Stop);
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
        let second = question(json!({"environment": "production", "top": 2, "continuation_token": token}));
        let mut search = Search::new(&second);
        assert_eq!(search.take(&pages), Next::Page);
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
        let question = question(json!({"environment": "Production"}));
        let mut search = Search::new(&question);
        assert_eq!(search.take(&page(&["Staging"], None)), Next::Stop);
        assert!(!search.more && search.others.contains("Staging"));
    }

    #[rstest]
    #[case("7~&~3", Some(("7~&", 3)))]
    #[case("~0", Some(("", 0)))]
    #[case("7", None)]
    #[case("7~x", None)]
    fn a_position_survives_any_token(#[case] token: &str, #[case] expected: Option<(&str, usize)>) {
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
