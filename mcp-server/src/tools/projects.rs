//! The projects that the tools may use. Does no I/O.

use serde_json::{Value, json};

use super::arguments::BadInput;
use crate::azure_devops::wire::Project;

/// Maximum length of a name in characters, as in Azure DevOps.
const MAX_NAME_LENGTH: usize = 64;

/// The projects of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Projects {
    permitted: Vec<String>,
}

impl Projects {
    /// `permitted` lists the projects. An empty list permits every project that the user may see.
    pub(crate) fn new(permitted: Vec<String>) -> Self {
        Self { permitted }
    }

    /// Returns the permitted projects. An empty list permits all.
    pub(crate) fn permitted(&self) -> &[String] {
        &self.permitted
    }

    /// Returns the project of calls that name none: the only permitted one.
    pub(crate) fn default_project(&self) -> Option<&str> {
        match self.permitted.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns the project of a call, spelled as in the configuration. Names are compared without regard to case, as
    /// in Azure DevOps.
    pub(crate) fn choose(&self, asked: Option<&str>) -> Result<String, BadInput> {
        let Some(asked) = asked else {
            return self
                .default_project()
                .map(str::to_owned)
                .ok_or_else(|| self.missing());
        };
        if self.permitted.is_empty() {
            return check_name(asked).map(|()| asked.to_owned());
        }
        match self.permitted.iter().find(|name| same_name(name, asked)) {
            Some(name) => Ok(name.clone()),
            None => Err(BadInput(format!(
                "this server may not use the project {:?}; it may use {}",
                short(asked),
                self.list()
            ))),
        }
    }

    fn missing(&self) -> BadInput {
        BadInput(if self.permitted.is_empty() {
            "project is missing: give the name of an Azure DevOps project".to_owned()
        } else {
            format!("project is missing: this server may use {}", self.list())
        })
    }

    fn list(&self) -> String {
        self.permitted.join(", ")
    }
}

/// Returns the schema of the argument `project`, and the names of required arguments.
pub(super) fn project_property(projects: &Projects) -> (Value, Vec<&'static str>) {
    let permitted = projects.permitted();
    match projects.default_project() {
        Some(only) => (
            json!({"type": "string", "enum": [only], "default": only, "description": "The Azure DevOps project."}),
            Vec::new(),
        ),
        None if permitted.is_empty() => (
            json!({"type": "string", "description": "Name of the Azure DevOps project."}),
            vec!["project"],
        ),
        None => (
            json!({"type": "string", "enum": permitted, "description": "The Azure DevOps project."}),
            vec!["project"],
        ),
    }
}

/// Returns true if two names are equal for Azure DevOps.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Returns true if `owner` is the project with the name or id `project`.
pub(super) fn owns(owner: &Project, project: &str) -> bool {
    let named = |name: &Option<String>| name.as_deref().is_some_and(|name| same_name(name, project));
    named(&owner.name) || named(&owner.id)
}

/// Refuses names that Azure DevOps forbids, and names that would change the path of an address.
pub(crate) fn check_name(name: &str) -> Result<(), BadInput> {
    let forbidden = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '#'
            )
    };
    let well_formed = !name.is_empty()
        && name.chars().count() <= MAX_NAME_LENGTH
        && !name.chars().any(forbidden)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.starts_with('_');
    if well_formed {
        Ok(())
    } else {
        Err(BadInput(format!(
            "{:?} is not the name of a project",
            short(name)
        )))
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_NAME_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn projects(names: &[&str]) -> Projects {
        Projects::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_only_project_is_the_default() {
        assert_eq!(projects(&["shop"]).choose(None), Ok("shop".to_owned()));
        assert_eq!(projects(&["Shop"]).choose(Some("shop")), Ok("Shop".to_owned()));
    }

    #[test]
    fn several_projects_have_no_default() {
        let error = projects(&["shop", "pay"]).choose(None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "project is missing: this server may use shop, pay"
        );
    }

    #[test]
    fn refuses_a_project_that_is_not_listed() {
        let error = projects(&["shop"]).choose(Some("secret")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this server may not use the project \"secret\"; it may use shop"
        );
    }

    #[test]
    fn permits_any_valid_name_without_a_list() {
        assert_eq!(
            projects(&[]).choose(Some("Any thing")),
            Ok("Any thing".to_owned())
        );
        assert!(projects(&[]).choose(None).is_err());
    }

    #[rstest]
    #[case("..")]
    #[case("a/b")]
    #[case("a\\b")]
    #[case("_apis")]
    #[case("")]
    fn refuses_a_name_that_is_a_path(#[case] name: &str) {
        assert!(projects(&[]).choose(Some(name)).is_err());
    }
}
