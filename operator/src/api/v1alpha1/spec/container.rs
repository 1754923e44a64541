//! A server from an image of the user's own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{PORT, matches, rule};

/// A registry and a repository, a tag and a digest. A first part without dot and port is no registry but a name at Docker Hub, unless
/// it is `localhost`.
fn image() -> String {
    const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    // Dots, each alone, and other separators.
    const BETWEEN: &str = "([.]([_-]+[.])*[_-]*|[_-]+([.][_-]+)*[.]?)";
    const VERSION: &str = "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?";
    let registry = format!("({LABEL}([.]{LABEL})+(:{PORT})?|localhost(:{PORT})?|{LABEL}:{PORT})");
    let repository = format!("(/[a-z0-9]+({BETWEEN}[a-z0-9]+)*)+");
    format!("^{registry}{repository}{VERSION}$")
}

/// An MCP server from an image of your own. Its container has a read-only root file system, no capability, no
/// ServiceAccount token and no federated token. The sidecar connects to it over loopback. Let the server listen on
/// 127.0.0.1 if it can: other Pods then cannot connect to it, whatever enforces network policies in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The image with its registry, at most 512 characters, for example registry.contoso.example/mcp/server:1.2.3. Without tag and
    /// digest it is the image with the tag latest. The installation decides which repositories an object may name
    /// (allowed.serverRepositories of the chart behalf).
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = [matches(
        &image(),
        "server.container.image must name its registry and repository in lower case, for example \
         registry.contoso.example/mcp/server:1.2.3"
    )]))]
    pub image: String,

    /// The program and its first arguments, in place of the image's entry point, which is the default. It can be any program of
    /// the image. At most 32 entries of 1 to 1024 characters, for example [/usr/bin/node, server.js].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub command: Vec<String>,

    /// Arguments, in place of the image's own, which are the default. At most 64 entries of at most 1024 characters, for example
    /// [--host=127.0.0.1, --port=3000].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,

    /// The port on which the server serves MCP, from 1024 to 65535, by default 3000. The sidecar has 8080 and 9090.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535), extend("x-kubernetes-validations" = [
        rule("self != 8080 && self != 9090", "server.container.port must not be 8080 or 9090: the sidecar listens there"),
    ]))]
    pub port: i32,

    /// The path at which the server serves MCP, by default /mcp. It is absolute, has at most 128 letters, digits and characters
    /// of ._~/- and no segments . and .., for example /api/mcp.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-validations" = [
        matches(
            "^/[A-Za-z0-9._~/-]*$",
            "server.container.path must be an absolute path of letters, digits and ._~/-, for example /api/mcp"
        ),
        rule(
            "!self.matches('/[.]{1,2}(/|$)')",
            "server.container.path must have no segments . and ..: write the path that they lead to, for example /api/mcp"
        ),
    ]))]
    pub path: String,

    /// Directories that the server may write, each an empty directory on the disk of the node at the start of a Pod. All other
    /// directories of the image are read-only. At most 8 absolute paths of at most 128 characters, by default none, for example
    /// [/tmp, /home/app/.cache]. They must not be /proc, /sys, /dev, /run, /var/run, /etc/behalf or below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 2, max = 128)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [
            rule(
                "self.all(path, path.matches('^(/[.]?[A-Za-z0-9_-][A-Za-z0-9._-]*)+$'))",
                "server.container.writablePaths must be absolute directories of letters, digits and ._-, without segments . and .. and \
                 without a slash at the end, for example /tmp"
            ),
            rule(
                "self.all(path, !path.matches('^/(proc|sys|dev|run|var/run|etc/behalf)(/|$)'))",
                "server.container.writablePaths must not be /proc, /sys, /dev, /run, /var/run, /etc/behalf or below: the kernel, the \
                 container runtime and the operator use them; name another directory of the image, for example /tmp"
            ),
        ])
    )]
    pub writable_paths: Vec<String>,

    /// Maximum size of each directory of writablePaths: a whole number of Mi or Gi from 1Mi to 4Gi, by default 256Mi, for
    /// example 1Gi. The kubelet evicts the whole Pod when a directory is larger, also if the calls of one user filled it.
    #[serde(default = "default_writable_size")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-validations" = [rule(
            "self.matches('^[1-9][0-9]{0,5}[MG]i$') && quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('4Gi')) <= 0",
            "server.container.writableSize must be a whole number of Mi or Gi between 1Mi and 4Gi, for example 256Mi"
        )])
    )]
    pub writable_size: String,

    /// The user and group of the process, from 1 to 2147483647, by default 65533, for example 1000. 65532 is the sidecar's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-kubernetes-validations" = [
        rule("self != 65532", "server.container.runAsUser must not be 65532: this is the sidecar's user, whose files it could read"),
    ]))]
    pub run_as_user: Option<i32>,
}

fn default_port() -> i32 {
    3000
}

fn default_path() -> String {
    "/mcp".to_owned()
}

fn default_writable_size() -> String {
    "256Mi".to_owned()
}
