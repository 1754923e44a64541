//! Which scopes the server's tools need. Pure.

use std::collections::HashSet;

use behalf_contract::AccessConfig;

use super::scopes::Scopes;

/// Which scopes there are here, and which of them a tool needs.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    read_only_tools: HashSet<String>,
    offered: Scopes,
}

impl AccessPolicy {
    /// The policy that the operator wrote.
    pub fn new(config: &AccessConfig) -> Self {
        Self {
            read_only_tools: config.read_only_tools.iter().cloned().collect(),
            offered: Scopes {
                read: true,
                run: config.writes,
            },
        }
    }

    /// Everything that the server's tools need: what challenges and metadata name, and what a client gets that
    /// asks for nothing. `mcp:run` is in it from the start, because several clients cannot ask for more later.
    pub fn offered(&self) -> Scopes {
        self.offered
    }

    /// What a login may grant to a client that asked for `asked`: never more than that.
    pub fn grantable(&self, asked: Option<Scopes>) -> Scopes {
        asked.map_or(self.offered, |asked| asked.intersection(self.offered))
    }

    /// What a call of this tool needs. A tool that nobody said to be reading needs `mcp:run`, unless this server
    /// has no tool that writes.
    pub fn needed(&self, tool: &str) -> Scopes {
        if self.read_only_tools.contains(tool) {
            Scopes::READ
        } else {
            self.offered
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn policy(writes: bool) -> AccessPolicy {
        AccessPolicy::new(&AccessConfig {
            server: behalf_contract::ServerKind::AzureDevOps {
                organization: "contoso".to_owned(),
            },
            read_only_tools: vec!["list".to_owned()],
            writes,
        })
    }

    #[rstest]
    #[case::reads("list", Scopes::READ)]
    #[case::writes("trigger", Scopes::ALL)]
    #[case::unknown("", Scopes::ALL)]
    #[case::another_case("List", Scopes::ALL)]
    #[case::longer("list ", Scopes::ALL)]
    fn only_a_tool_that_is_said_to_read_needs_no_run(#[case] tool: &str, #[case] expected: Scopes) {
        assert_eq!(policy(true).needed(tool), expected);
        // Nothing asks for a scope that nobody can get.
        assert_eq!(policy(false).needed(tool), Scopes::READ);
    }

    #[test]
    fn what_was_asked_for_is_what_is_granted() {
        let writing = policy(true);
        assert_eq!(writing.grantable(Some(Scopes::READ)), Scopes::READ);
        assert_eq!(writing.grantable(Some(Scopes::ALL)), Scopes::ALL);
        assert_eq!(writing.grantable(None), Scopes::ALL);
        let reading = policy(false);
        assert_eq!(reading.grantable(Some(Scopes::ALL)), Scopes::READ);
        assert_eq!(reading.grantable(None), Scopes::READ);
    }
}
