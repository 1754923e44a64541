//! Maps the server's tools to the scopes that they need. Pure.

use std::collections::HashSet;

use behalf_contract::AccessConfig;

use super::scopes::Scopes;

/// The scopes of this server, and the scopes that each tool needs.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    read_only_tools: HashSet<String>,
    offered: Scopes,
}

impl AccessPolicy {
    /// Reads the policy from the operator's configuration.
    pub fn new(config: &AccessConfig) -> Self {
        Self {
            read_only_tools: config.read_only_tools.iter().cloned().collect(),
            offered: Scopes {
                read: true,
                run: config.writes,
            },
        }
    }

    /// All scopes that the server's tools need. Challenges and metadata name them, and a client that requests
    /// no scope gets them. `mcp:run` is included from the start, because several clients cannot request more
    /// scopes later.
    pub fn offered(&self) -> Scopes {
        self.offered
    }

    /// Returns the scopes that a login may grant to a client that asked for `asked`. It never returns more
    /// than that.
    pub fn grantable(&self, asked: Option<Scopes>) -> Scopes {
        asked.map_or(self.offered, |asked| asked.intersection(self.offered))
    }

    /// Returns the scopes that a call of this tool needs. A tool that is not listed as reading needs
    /// `mcp:run`, unless this server has no tool that writes.
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
    fn only_a_tool_that_is_listed_as_read_only_needs_no_run(#[case] tool: &str, #[case] expected: Scopes) {
        assert_eq!(policy(true).needed(tool), expected);
        // A call never needs a scope that no client can get.
        assert_eq!(policy(false).needed(tool), Scopes::READ);
    }

    #[test]
    fn the_granted_scopes_are_the_requested_ones_that_the_server_offers() {
        let writing = policy(true);
        assert_eq!(writing.grantable(Some(Scopes::READ)), Scopes::READ);
        assert_eq!(writing.grantable(Some(Scopes::ALL)), Scopes::ALL);
        assert_eq!(writing.grantable(None), Scopes::ALL);
        let reading = policy(false);
        assert_eq!(reading.grantable(Some(Scopes::ALL)), Scopes::READ);
        assert_eq!(reading.grantable(None), Scopes::READ);
    }
}
