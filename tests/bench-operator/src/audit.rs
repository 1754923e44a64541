//! The requests of the operator, from the audit log of the API server.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{BenchError, Step as _};

/// The user as which the operator asks the API server.
pub(crate) const OPERATOR: &str = "operator";

/// Requests by verb and resource.
#[derive(Debug, Default, Clone)]
pub(crate) struct Requests(BTreeMap<(String, String), usize>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user: User,
    verb: String,
    object_ref: Option<Resource>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Resource {
    resource: String,
    subresource: Option<String>,
}

/// A place in the audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl Mark {
    /// The end of the last whole line.
    pub(crate) fn now(log: &Path) -> Result<Self, BenchError> {
        let text = std::fs::read(log).step("read the audit log")?;
        let end = text.iter().rposition(|byte| *byte == b'\n');
        Ok(Self(end.map_or(0, |end| end + 1)))
    }
}

impl Requests {
    /// Reads the operator's requests after `from`. Watches are not among them: the log has a line when one ends.
    pub(crate) fn since(log: &Path, from: Mark) -> Result<Self, BenchError> {
        let text = std::fs::read(log).step("read the audit log")?;
        let mut requests = Self::default();
        let text = text.get(from.0..).unwrap_or_default();
        // The last line may not be whole yet.
        let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_slice(line).step("read a line of the audit log")?;
            if line.user.username == OPERATOR && line.verb != "watch" {
                let resource = match line.object_ref {
                    Some(Resource {
                        resource,
                        subresource: Some(subresource),
                    }) => format!("{resource}/{subresource}"),
                    Some(object) => object.resource,
                    None => "other".to_owned(),
                };
                *requests.0.entry((line.verb, resource)).or_default() += 1;
            }
        }
        Ok(requests)
    }

    /// The number of requests, without those for the Lease.
    pub(crate) fn count(&self) -> usize {
        self.matching(|_| true)
    }

    /// The number of writes, without those of the Lease.
    pub(crate) fn writes(&self) -> usize {
        self.matching(|verb| !matches!(verb, "get" | "list"))
    }

    /// The number of reads, without those of the Lease.
    pub(crate) fn reads(&self) -> usize {
        self.matching(|verb| matches!(verb, "get" | "list"))
    }

    /// The number of writes of the Lease.
    pub(crate) fn writes_of_lease(&self) -> usize {
        let requests = self.0.iter();
        let of_lease = requests.filter(|((verb, resource), _)| resource == "leases" && verb != "get");
        of_lease.map(|(_, count)| count).sum()
    }

    fn matching(&self, takes: impl Fn(&str) -> bool) -> usize {
        let requests = self.0.iter();
        let counted = requests.filter(|((verb, resource), _)| resource != "leases" && takes(verb));
        counted.map(|(_, count)| count).sum()
    }

    /// Each verb and resource with its number.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (String, usize)> {
        self.0
            .iter()
            .map(|((verb, resource), count)| (format!("{verb} {resource}"), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_operator_s_requests_after_a_mark_without_watches_and_the_lease() {
        let line = |user: &str, verb: &str, resource: &str| {
            format!(
                r#"{{"user":{{"username":"{user}"}},"verb":"{verb}","objectRef":{{"resource":"{resource}"}}}}"#
            )
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = line(OPERATOR, "create", "services") + "\n";
        std::fs::write(file.path(), &before).unwrap();
        let mark = Mark::now(file.path()).unwrap();
        let after = [
            line(OPERATOR, "create", "services"),
            line("admin", "create", "services"),
            line(OPERATOR, "watch", "pods"),
            line(OPERATOR, "update", "leases"),
            line(OPERATOR, "get", "secrets"),
            format!(
                r#"{{"user":{{"username":"{OPERATOR}"}},"verb":"get","requestURI":"/.well-known/openid-configuration"}}"#
            ),
            r#"{"user":{"userna"#.to_owned(),
        ];
        std::fs::write(file.path(), before + &after.join("\n")).unwrap();
        let requests = Requests::since(file.path(), mark).unwrap();
        assert_eq!((requests.count(), requests.writes(), requests.reads()), (3, 1, 2));
        assert_eq!(requests.writes_of_lease(), 1);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{}\n").unwrap();
        assert!(Requests::since(file.path(), Mark(0)).is_err());
    }
}
