//! Which projects the tools may touch. Pure.

use super::arguments::BadInput;
use crate::azure_devops::wire::Project;

/// Azure DevOps allows no longer names.
const LONGEST: usize = 64;

/// The projects of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Projects {
    permitted: Vec<String>,
}

impl Projects {
    /// Empty means every project that the user may see.
    pub(crate) fn new(permitted: Vec<String>) -> Self {
        Self { permitted }
    }

    /// The permitted projects; empty means all.
    pub(crate) fn permitted(&self) -> &[String] {
        &self.permitted
    }

    /// The project a tool may leave out.
    pub(crate) fn default_project(&self) -> Option<&str> {
        match self.permitted.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The project of a call. A name is compared without regard to case, as Azure DevOps does, and used as
    /// the configuration spells it.
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
        match self.permitted.iter().find(|name| equal(name, asked)) {
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

/// True when two names are one project to Azure DevOps.
pub(crate) fn equal(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// True when a call for `project` may touch what `owner` owns. A project is configured by its name or its id.
pub(super) fn is(owner: &Project, project: &str) -> bool {
    let named = |name: &Option<String>| name.as_deref().is_some_and(|name| equal(name, project));
    named(&owner.name) || named(&owner.id)
}

/// What Azure DevOps forbids in names, and what would leave the project's place in an address.
pub(crate) fn check_name(name: &str) -> Result<(), BadInput> {
    let forbidden = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '#'
            )
    };
    let well_formed = !name.is_empty()
        && name.chars().count() <= LONGEST
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
    text.chars().take(LONGEST).collect()
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
    fn with_several_the_model_has_to_choose() {
        let error = projects(&["shop", "pay"]).choose(None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "project is missing: this server may use shop, pay"
        );
    }

    #[test]
    fn a_project_that_is_not_listed_is_refused() {
        let error = projects(&["shop"]).choose(Some("secret")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this server may not use the project \"secret\"; it may use shop"
        );
    }

    #[test]
    fn without_a_list_any_name_is_good() {
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
    fn a_name_cannot_be_a_path(#[case] name: &str) {
        assert!(projects(&[]).choose(Some(name)).is_err());
    }
}
