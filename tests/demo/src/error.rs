//! Errors of the demo.

use std::path::PathBuf;

use crate::environment::EnvironmentError;
use crate::forward::ForwardError;
use crate::internal_document::InternalDocumentError;
use crate::mcp_client::ClientError;
use behalf_local_cluster::cluster::ClusterError;
use behalf_local_cluster::images::ImageError;
use behalf_simulators::sign_in::SignInError;
use reqwest::StatusCode;

/// Why the demo stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The cluster.
    #[error("failed to bring up or remove the cluster")]
    Cluster(#[source] Box<ClusterError>),

    /// The images.
    #[error("failed to build the images")]
    Images(#[source] Box<ImageError>),

    /// The demo that runs on the cluster.
    #[error("failed to set up the demo on the cluster")]
    Environment(#[source] Box<EnvironmentError>),

    /// The MCP client.
    #[error("the MCP client failed")]
    McpClient(#[source] Box<ClientError>),

    /// No client for the cluster.
    #[error("failed to build a client for the cluster")]
    Client(#[source] Box<kube::Error>),

    /// A loopback port.
    #[error("failed to forward the demo's ports")]
    Forward(#[source] Box<ForwardError>),

    /// The binaries.
    #[error("cargo did not build the binaries; its output stands above")]
    Build,

    /// The person at the browser.
    #[error("the sign-in failed")]
    SignIn(#[source] Box<SignInError>),

    /// The forwarder, or a file of the demo.
    #[error("failed to {action} {path}")]
    File {
        /// The step that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The kubeconfig is not usable.
    #[error("failed to read the kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The fault, as a part of the message.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },

    /// A demo runs already, and would be lost.
    #[error("a demo runs on another cluster, of kind {0}: take it down with `make demo-down` first")]
    RunsElsewhere(String),

    /// The metrics of a Pod.
    #[error(transparent)]
    InternalDocument(#[from] InternalDocumentError),

    /// No Pod's metrics show the call.
    #[error("the metrics of no Pod count the tool call: compare `kubectl get pods --namespace mcp`")]
    NoPodAnswered,

    /// A deleted Pod does not go.
    #[error("Pod {0} was deleted and does not stop: its node may be away, see `kubectl get nodes`")]
    PodStays(String),

    /// The sidecar does not know the access token of a client that just called.
    #[error("the sidecar reports no session for an access token that it just accepted")]
    NoSession,

    /// A session that was ended still works.
    #[error("the session was ended, and the next call was answered {0}")]
    SessionGoesOn(StatusCode),

    /// Nothing to look at.
    #[error("no demo runs here: start it with `make demo`")]
    NotRunning,

    /// The kubeconfig is not the demo's.
    #[error(
        "the demo runs on another cluster than this kubeconfig leads to: set KUBECONFIG to the one it was started with"
    )]
    OtherCluster,

    /// The forwarder did not come up.
    #[error("the port forwarder ended or did not answer on every port: its log {0} says why")]
    Forwarder(PathBuf),

    /// The forwarder of an earlier demo does not go away.
    #[error("the port forwarder of an earlier demo, process {0}, does not end: end it with `kill -9 {0}`")]
    ForwarderRuns(u32),
}

/// A step's error becomes the demo's: boxed, as some of them are large.
macro_rules! from_step {
    ($($variant:ident($error:ty)),+ $(,)?) => {
        $(impl From<$error> for DemoError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        })+
    };
}

from_step!(
    Cluster(ClusterError),
    Images(ImageError),
    Environment(EnvironmentError),
    McpClient(ClientError),
    SignIn(SignInError),
    Forward(ForwardError),
    Client(kube::Error),
);
