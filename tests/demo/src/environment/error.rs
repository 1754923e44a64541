//! Errors of the setup of an environment.

use std::path::PathBuf;

use behalf_local_cluster::cluster::ClusterError;
use behalf_simulators::certificates::CertificateError;
use behalf_simulators::control::ControlError;

/// Why the environment could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The cluster, `kubectl` or `helm` failed.
    #[error("failed to {action}")]
    Cluster {
        /// The step that failed.
        action: String,
        /// The cluster's error.
        #[source]
        source: Box<ClusterError>,
    },

    /// The API server did not take or give an object.
    #[error("failed to {action}")]
    Api {
        /// The step that failed.
        action: String,
        /// The error of the Kubernetes client.
        #[source]
        source: Box<kube::Error>,
    },

    /// A simulator refused an instruction.
    #[error("failed to {action}")]
    Control {
        /// The step that failed.
        action: String,
        /// The simulator's answer.
        #[source]
        source: Box<ControlError>,
    },

    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificates(#[source] CertificateError),

    /// The system's random numbers.
    #[error("failed to make a password for Redis")]
    Random(#[source] getrandom::Error),

    /// A manifest is not what it should be.
    #[error("failed to read {path}: {problem}")]
    Manifest {
        /// The file or the command it came from.
        path: PathBuf,
        /// The fault, as a part of the message.
        problem: String,
    },

    /// Something did not become true in time.
    #[error("{what} did not happen within {seconds} s; last seen: {seen}")]
    TimedOut {
        /// The state that did not come.
        what: String,
        /// How long.
        seconds: u64,
        /// The last observation, in words.
        seen: String,
    },
}

impl EnvironmentError {
    pub(super) fn cluster(action: impl Into<String>) -> impl FnOnce(ClusterError) -> Self {
        let action = action.into();
        move |source| Self::Cluster {
            action,
            source: Box::new(source),
        }
    }

    pub(crate) fn control(action: impl Into<String>) -> impl FnOnce(ControlError) -> Self {
        let action = action.into();
        move |source| Self::Control {
            action,
            source: Box::new(source),
        }
    }

    pub(super) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api {
            action,
            source: Box::new(source),
        }
    }
}
