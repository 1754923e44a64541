//! Why forwarding did not start, or a connection was not forwarded.

/// Why forwarding did not start, or a connection was not forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The loopback port is taken.
    #[error("failed to listen on 127.0.0.1:{port}; end what uses the port, then try again")]
    Listen {
        /// The port.
        port: u16,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },

    /// The API server did not answer as expected.
    #[error("failed to {action}")]
    Api {
        /// The operation that failed.
        action: &'static str,
        /// The error of the Kubernetes client.
        #[source]
        source: kube::Error,
    },

    /// The Pod does not accept the connection.
    #[error("failed to connect to Pod {pod}")]
    Connect {
        /// The Pod's name.
        pod: String,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },

    /// No Pod of the Service is ready.
    #[error("no Pod behind Service {0} is ready")]
    NoPod(String),

    /// The Service has no such port, or its Pod does not name it.
    #[error("Service {service} has no port {port}")]
    NoPort {
        /// The Service's name.
        service: String,
        /// The port that was asked for.
        port: u16,
    },
}
