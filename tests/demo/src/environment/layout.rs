//! Names and loopback ports of an environment.

use std::net::SocketAddr;

use behalf_local_cluster::cluster::Cluster;
use url::Url;

use crate::forward::Forward;

/// The operator's namespace.
pub const NAMESPACE_OPERATOR: &str = "behalf-system";

/// The simulators' namespace.
pub const NAMESPACE_SIMULATORS: &str = "behalf-simulators";

/// The namespace of the examples' `McpServer` objects.
pub const NAMESPACE_SERVERS: &str = "mcp";

/// Names and ports of one environment. Environments that run at the same time differ in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The cluster's name.
    pub cluster: String,

    /// The loopback ports.
    pub ports: Ports,

    /// Log level of operator, sidecars and servers: `Info`, or `Trace` where logs are searched.
    pub log_level: &'static str,

    /// The `McpServer`s that have a user at Redis.
    pub redis_users: &'static [&'static str],

    /// Number of nodes.
    pub nodes: u8,

    /// The port of this machine at which a collector of traces listens for the Pods of a local cluster. Without one the servers
    /// send no traces.
    pub collector: Option<u16>,
}

/// Loopback ports, all different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// `publicUrl` of `examples/quickstart.yaml`.
    pub quickstart: u16,

    /// `publicUrl` of `examples/article.yaml`.
    pub article: u16,

    /// The Entra simulator's pages, for the browser.
    pub sign_in: u16,

    /// The Entra simulator's control port.
    pub entra_control: u16,

    /// The Azure DevOps simulator's control port.
    pub azure_devops_control: u16,
}

/// One `McpServer` of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The five facts; the exchange is the sidecar's.
    Quickstart,

    /// The article's shape: `bearerToken` argument, exchange in the server.
    Article,
}

impl Server {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Quickstart, Self::Article];

    /// `metadata.name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quickstart => "azure-devops",
            Self::Article => "article",
        }
    }

    /// One line for the user.
    pub fn description(self) -> &'static str {
        match self {
            Self::Quickstart => "the five facts; the sidecar exchanges the token",
            Self::Article => "the article's shape: bearerToken argument, the server exchanges the token",
        }
    }
}

impl Ports {
    /// The ports of an environment. This is the first one. They are within a hundred.
    pub fn beginning_at(base: u16) -> Self {
        Self {
            quickstart: base,
            article: base + 1,
            sign_in: base + 10,
            entra_control: base + 11,
            azure_devops_control: base + 12,
        }
    }
}

impl Layout {
    /// The demo's.
    pub fn demo() -> Self {
        Self {
            cluster: "behalf-demo".to_owned(),
            ports: Ports::beginning_at(8480),
            log_level: "Info",
            redis_users: &["article"],
            nodes: 1,
            collector: None,
        }
    }

    /// The black-box suite's, on the cluster with this name.
    pub fn tests(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            ports: Ports::beginning_at(8580),
            log_level: "Trace",
            redis_users: &["article", "scratch"],
            nodes: 3,
            collector: Some(8593),
        }
    }

    /// The address of the collector, as the Pods reach it. The Pods of other clusters than a local one do not reach this machine.
    pub fn collector_address(&self, cluster: &Cluster) -> Option<SocketAddr> {
        let (host, port) = (cluster.host_address()?, self.collector?);
        Some(SocketAddr::from((host, port)))
    }

    /// A server's public origin.
    pub fn public_url(&self, server: Server) -> Url {
        loopback(match server {
            Server::Quickstart => self.ports.quickstart,
            Server::Article => self.ports.article,
        })
    }

    /// A server's MCP endpoint.
    pub fn mcp_url(&self, server: Server) -> Url {
        let mut url = self.public_url(server);
        url.set_path("/mcp");
        url
    }

    /// Address of the Entra simulator for the browser. It is an IP address and Behalf's is a name, so both
    /// are different sites to the browser, as with the real Entra.
    pub fn sign_in_url(&self) -> Url {
        origin("127.0.0.1", self.ports.sign_in)
    }

    /// The Entra simulator's control port, from outside the cluster.
    pub fn entra_control(&self) -> Url {
        loopback(self.ports.entra_control)
    }

    /// The Azure DevOps simulator's control port, from outside the cluster.
    pub fn azure_devops_control(&self) -> Url {
        loopback(self.ports.azure_devops_control)
    }

    /// Every loopback port and where it leads.
    pub fn forwards(&self) -> Vec<Forward> {
        let to = |local, namespace: &str, service: &str, port| Forward {
            local,
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            port,
        };
        vec![
            to(
                self.ports.quickstart,
                NAMESPACE_SERVERS,
                Server::Quickstart.name(),
                8080,
            ),
            to(
                self.ports.article,
                NAMESPACE_SERVERS,
                Server::Article.name(),
                8080,
            ),
            to(self.ports.sign_in, NAMESPACE_SIMULATORS, "entra", 8080),
            to(self.ports.entra_control, NAMESPACE_SIMULATORS, "entra", 9000),
            to(
                self.ports.azure_devops_control,
                NAMESPACE_SIMULATORS,
                "azure-devops",
                9000,
            ),
        ]
    }
}

#[expect(
    clippy::expect_used,
    reason = "a loopback address with a port is always a URL"
)]
fn origin(host: &str, port: u16) -> Url {
    Url::parse(&format!("http://{host}:{port}")).expect("a loopback address with a port is a URL")
}

fn loopback(port: u16) -> Url {
    origin("localhost", port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entra_is_another_site_than_behalf() {
        let layout = Layout::demo();
        for server in Server::ALL {
            assert_ne!(layout.public_url(server).host(), layout.sign_in_url().host());
        }
    }
}
