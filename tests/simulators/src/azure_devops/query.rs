//! Query parameters as Azure DevOps reads them: names without regard to case, lists joined with commas,
//! enums without regard to case, and 400 in the wrapped shape for what cannot be read.

use std::str::FromStr;

use jiff::Timestamp;

use super::error::ServiceError;

/// The decoded query of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(
            pairs
                .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
                .collect(),
        )
    }

    /// The value of `name`, which must be given in lower case. An empty value counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(candidate, _)| candidate == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// Every parameter, for the record.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// A number, a date or whatever else parses.
    pub(super) fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, ServiceError> {
        self.get(name)
            .map(|value| value.trim().parse().map_err(|_| unreadable(name, value)))
            .transpose()
    }

    /// A date; one without offset is taken as UTC.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ServiceError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let parsed = value.parse().or_else(|_| format!("{value}Z").parse());
        parsed.map(Some).map_err(|_| unreadable(name, value))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, ServiceError> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(unreadable(name, other)),
        }
    }

    /// A comma-joined list; repeated parameters add up.
    pub(super) fn list<T: FromStr>(&self, name: &str) -> Result<Vec<T>, ServiceError> {
        let values = self
            .0
            .iter()
            .filter(|(candidate, _)| candidate == name)
            .map(|(_, value)| value);
        values
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| item.parse().map_err(|_| unreadable(name, item)))
            .collect()
    }

    /// One of `allowed`, in the spelling of `allowed`.
    pub(super) fn choice(
        &self,
        name: &str,
        allowed: &[&'static str],
    ) -> Result<Option<&'static str>, ServiceError> {
        self.get(name)
            .map(|value| one_of(name, value, allowed))
            .transpose()
    }

    /// Several of `allowed`, comma-joined: flags of an enum.
    pub(super) fn choices(
        &self,
        name: &str,
        allowed: &[&'static str],
    ) -> Result<Vec<&'static str>, ServiceError> {
        self.list::<String>(name)?
            .iter()
            .map(|value| one_of(name, value, allowed))
            .collect()
    }

    /// A page size: the default when absent, the maximum when above, 400 when not positive.
    pub(super) fn page_size(
        &self,
        name: &str,
        default: usize,
        maximum: usize,
    ) -> Result<usize, ServiceError> {
        match self.value::<i64>(name)? {
            None => Ok(default),
            Some(size) if size < 1 => Err(ServiceError::invalid_argument(format!(
                "The value {size} of {name} must be greater than 0."
            ))),
            Some(size) => Ok(usize::try_from(size).unwrap_or(maximum).min(maximum)),
        }
    }
}

fn one_of(name: &str, value: &str, allowed: &[&'static str]) -> Result<&'static str, ServiceError> {
    let found = allowed
        .iter()
        .copied()
        .find(|candidate| candidate.eq_ignore_ascii_case(value.trim()));
    found.ok_or_else(|| unreadable(name, value))
}

fn unreadable(name: &str, value: &str) -> ServiceError {
    ServiceError::model(format!(
        "The request is invalid. The value '{value}' is not valid for {name}."
    ))
}

/// `*` at the end, in the middle or at the start stands for anything; without `*` the name must be equal.
pub(super) fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return pattern == text;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_enums_without_regard_to_case() {
        let query = Query::parse(Some("StatusFilter=INPROGRESS&definitions=1,2&definitions=3"));
        assert_eq!(
            query.choice("statusfilter", &["inProgress"]),
            Ok(Some("inProgress"))
        );
        assert_eq!(query.list::<u32>("definitions"), Ok(vec![1, 2, 3]));
        assert!(query.choice("statusfilter", &["completed"]).is_err());
    }

    #[test]
    fn limits_the_page_size_and_refuses_zero() {
        assert_eq!(Query::parse(None).page_size("$top", 1000, 5000), Ok(1000));
        assert_eq!(
            Query::parse(Some("$top=99999")).page_size("$top", 1000, 5000),
            Ok(5000)
        );
        assert!(
            Query::parse(Some("%24top=0"))
                .page_size("$top", 1000, 5000)
                .is_err()
        );
    }

    #[test]
    fn wildcards_stand_for_anything() {
        assert!(matches_wildcard("shop-*", "shop-ci"));
        assert!(matches_wildcard("*-ci", "Shop-CI"));
        assert!(matches_wildcard("shop-ci", "shop-ci"));
        assert!(!matches_wildcard("shop", "shop-ci"));
        assert!(!matches_wildcard("a*b*c", "acb"));
    }
}
