//! Loopback ports that lead to the current Pods of a cluster's Services.
//!
//! Every connection asks the API server for the ready Pods and takes the next one in turn, so a forwarded address
//! survives restarts and rollouts; connections that are open when a Pod dies break, as behind any load balancer.

mod answers;
mod pod;
mod relay;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use tokio::net::{TcpListener, TcpStream};

pub use self::answers::Answers;
use self::pod::{Remote, open};
use self::relay::relay;

/// Number of searches for a ready Pod before a connection is closed, and the time between two of them.
const ATTEMPTS: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// One loopback port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Forward {
    /// The port on 127.0.0.1.
    pub local: u16,

    /// The Service's namespace.
    pub namespace: String,

    /// The Service's name.
    pub service: String,

    /// The Service's port.
    pub port: u16,
}

/// The route of a connection to its Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Connects to the Pod's address. This machine needs a route to it, as it has to the Pods of a local
    /// cluster.
    Direct,

    /// Connects through the API server and the node, as every cluster can. The node reports a close by the
    /// Pod up to a second late, and reports a reset as a close.
    PortForward,
}

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

/// Listens on every port and forwards until the process ends or the returned future is dropped.
///
/// `answers`, if any, keeps a copy of everything that comes back.
pub async fn serve(
    client: Client,
    way: Way,
    forwards: Vec<Forward>,
    answers: Option<Answers>,
) -> Result<(), ForwardError> {
    let mut listeners = tokio::task::JoinSet::new();
    for forward in forwards {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forward.local))
            .await
            .map_err(|source| ForwardError::Listen {
                port: forward.local,
                source,
            })?;
        listeners.spawn(accept(client.clone(), way, listener, forward, answers.clone()));
    }
    while listeners.join_next().await.is_some() {}
    Ok(())
}

async fn accept(client: Client, way: Way, listener: TcpListener, forward: Forward, answers: Option<Answers>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await; // out of file descriptors: later there may be some
            continue;
        };
        let (client, forward, answers) = (client.clone(), forward.clone(), answers.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(&client, way, stream, &forward, answers).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Closed a connection to {}/{}: {error}",
                    forward.namespace,
                    forward.service
                );
            }
        });
    }
}

/// The number of connections so far. Connections that follow each other reach different Pods.
static TURN: AtomicUsize = AtomicUsize::new(0);

async fn connection(
    client: &Client,
    way: Way,
    local: TcpStream,
    forward: &Forward,
    answers: Option<Answers>,
) -> Result<(), ForwardError> {
    let mut last = ForwardError::NoPod(forward.service.clone());
    for _ in 0..ATTEMPTS {
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        match open(client, way, forward, turn).await {
            Ok(remote) => {
                let copy = answers.map(|answers| answers.connection(forward.local));
                match remote {
                    Remote::Direct(remote) => relay(local, remote, copy).await,
                    Remote::Forwarded(forwarder, remote) => {
                        relay(local, remote, copy).await;
                        forwarder.abort();
                    }
                }
                return Ok(());
            }
            Err(error) => last = error,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}
