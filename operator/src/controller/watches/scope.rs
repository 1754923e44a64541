//! Which namespaces the operator watches.

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use crate::controller::names;

/// The namespaces that the operator watches and writes to. Its rights end where they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// These namespaces. Contains at least one, each once.
    Namespaces(Vec<String>),

    /// Every namespace of the cluster.
    Cluster,
}

/// There is no namespace to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no namespace to watch: name some with --watch-namespaces, or watch all of them with --cluster-wide"
)]
pub struct EmptyScope;

impl Scope {
    /// Returns the scope that the command line requests. The default is the operator's own namespace.
    pub fn new(
        cluster_wide: bool,
        namespaces: &[String],
        own_namespace: Option<&str>,
    ) -> Result<Self, EmptyScope> {
        if cluster_wide {
            return Ok(Self::Cluster);
        }
        let mut namespaces = namespaces.to_vec();
        if namespaces.is_empty() {
            namespaces.extend(own_namespace.map(str::to_owned));
        }
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() {
            return Err(EmptyScope);
        }
        Ok(Self::Namespaces(namespaces))
    }

    /// Returns one API for each watch that the scope needs, with the namespace that it covers.
    pub fn apis<K>(&self, client: &Client) -> Vec<(Option<String>, Api<K>)>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Cluster => vec![(None, Api::all(client.clone()))],
            Self::Namespaces(namespaces) => namespaces
                .iter()
                .map(|namespace| {
                    (
                        Some(namespace.clone()),
                        Api::namespaced(client.clone(), namespace),
                    )
                })
                .collect(),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespaces(namespaces) => formatter.write_str(&namespaces.join(", ")),
            Self::Cluster => formatter.write_str("all"),
        }
    }
}

/// A text that cannot be a namespace's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a namespace: write <name>, or <name>,<name>")]
pub struct InvalidNamespace(String);

/// Parses one entry of the list of namespaces (RFC 1123 label).
pub fn parse_namespace(text: &str) -> Result<String, InvalidNamespace> {
    if text.len() <= 63 && !text.contains('.') && names::is_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err(InvalidNamespace(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn scope(cluster_wide: bool, namespaces: &[&str], own: Option<&str>) -> Result<String, EmptyScope> {
        let namespaces: Vec<String> = namespaces.iter().map(|&name| name.to_owned()).collect();
        Scope::new(cluster_wide, &namespaces, own).map(|scope| scope.to_string())
    }

    #[rstest]
    #[case::own_namespace(false, &[], "behalf-system")]
    #[case::named_namespaces_alone(false, &["two", "one", "two"], "one, two")]
    #[case::all(true, &[], "all")]
    fn watches_the_whole_cluster_only_on_request(
        #[case] cluster_wide: bool,
        #[case] namespaces: &[&str],
        #[case] expected: &str,
    ) {
        assert_eq!(
            scope(cluster_wide, namespaces, Some("behalf-system")).as_deref(),
            Ok(expected)
        );
    }

    #[test]
    fn outside_a_cluster_the_command_line_must_name_a_namespace() {
        assert_eq!(scope(false, &[], None), Err(EmptyScope));
    }

    #[rstest]
    #[case("mcp", true)]
    #[case("", false)]
    #[case("a/b", false)]
    #[case("a.b", false)]
    #[case("MCP", false)]
    fn a_namespace_is_a_label(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(parse_namespace(text).is_ok(), expected);
    }
}
