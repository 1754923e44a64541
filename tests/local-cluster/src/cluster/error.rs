//! Why a cluster could not be had.

use std::path::PathBuf;

use crate::command::CommandError;
use crate::files::FileError;
use crate::images::ImageError;
use crate::prerequisites::PrerequisiteError;
use crate::toolchain::ToolchainError;

/// Why a cluster could not be brought up, used or taken down.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A name that cannot become part of folders and cgroups.
    #[error("cluster name `{0}` is not usable: take 1 to 32 of the characters a-z, 0-9 and -")]
    Name(String),

    /// A kind of cluster that does not exist.
    #[error("cluster kind `{0}` is unknown: take local, kind or current")]
    UnknownKind(String),

    /// More or fewer nodes than a cluster can have.
    #[error("a local cluster has 1 to {max} nodes, not {asked}: ask for a number in this range")]
    Nodes {
        /// The requested number.
        asked: u8,

        /// The largest number.
        max: u8,
    },

    /// No index is free.
    #[error("all address ranges are taken: take a cluster down with `behalf-cluster down --name NAME`")]
    NoAddresses,

    /// The state would be hidden inside the node.
    #[error(
        "cache folder {} lies where each node has a folder of its own: set XDG_CACHE_HOME to another place",
        .0.display()
    )]
    HiddenCache(PathBuf),

    /// There is no such cluster.
    #[error("no cluster named `{0}` runs here: start it with `behalf-cluster up --name {0}`")]
    Unknown(String),

    /// A record of a cluster is not readable.
    #[error("record {} is damaged: take the cluster down with `behalf-cluster down --name NAME`", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,

        /// The error of the parser.
        source: serde_json::Error,
    },

    /// The node's first process is gone.
    #[error("node {node} of cluster `{cluster}` ended: {tail}")]
    NodeEnded {
        /// The cluster's name.
        cluster: String,

        /// The node's number.
        node: u8,

        /// The end of the node's own log.
        tail: String,
    },

    /// A component keeps ending.
    #[error("{component} ended {exits} times ({last_exit}); the end of its log {}:\n{tail}", log.display())]
    ComponentEnded {
        /// The component's name.
        component: String,

        /// Number of its ends.
        exits: u32,

        /// Description of its last end.
        last_exit: String,

        /// Path of its log.
        log: PathBuf,

        /// The end of its log.
        tail: String,
    },

    /// Something did not happen in time.
    #[error("{what} within {seconds} s; the last answer: {answer}; logs: {}{tail}", logs.display())]
    Timeout {
        /// The awaited event.
        what: String,

        /// The duration of the wait.
        seconds: u64,

        /// The last observation.
        answer: String,

        /// The folder of all logs.
        logs: PathBuf,

        /// The end of the log of the component that is most likely the cause.
        tail: String,
    },

    /// A process did not go away.
    #[error("process {0} does not end after SIGKILL: it hangs in the kernel, look at `ps` for its state")]
    Unkillable(u32),

    /// A component that this node does not have.
    #[error("cluster has no component named `{0}`: see `ls` in its log folder")]
    UnknownComponent(String),

    /// An operation that only the local cluster has.
    #[error("cluster kind {kind} cannot {what}: use kind local")]
    Unsupported {
        /// The kind of the cluster.
        kind: &'static str,

        /// The requested feature.
        what: &'static str,
    },

    /// The current cluster is not ours and has no registry.
    #[error(
        "images cannot reach the cluster of the current kubeconfig: set REGISTRY to a registry it pulls from"
    )]
    NoRegistry,

    /// Something needed is not installed.
    #[error(transparent)]
    Prerequisite(#[from] PrerequisiteError),

    /// The cluster's binaries could not be built.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),

    /// An image of the cluster's own could not be built.
    #[error(transparent)]
    Image(#[from] ImageError),

    /// An external program failed.
    #[error(transparent)]
    Command(#[from] CommandError),

    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}
