//! Loopback ports that lead to the current Pods of a cluster's Services.
//!
//! Every connection asks the API server for the ready Pods and takes the next one in turn, so a forwarded address
//! survives restarts and rollouts; connections that are open when a Pod dies break, as behind any load balancer.

mod answers;
mod error;
mod pod;
mod relay;
mod target;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use kube::Client;
use tokio::net::{TcpListener, TcpStream};

pub use self::answers::Answers;
pub use self::error::ForwardError;
use self::pod::{Remote, open};
use self::relay::relay;
pub use self::target::{Forward, Way};

/// Number of searches for a ready Pod before a connection is closed, and the time between two of them.
const ATTEMPTS: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// Listens on every port and forwards until the process ends or the returned future is dropped.
///
/// `answers`, if any, keeps a copy of everything that comes back.
pub async fn serve(
    client: Client,
    way: Way,
    forwards: Vec<Forward>,
    answers: Option<Answers>,
) -> Result<(), ForwardError> {
    let mut listeners = Vec::new();
    for forward in forwards {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forward.local))
            .await
            .map_err(|source| ForwardError::Listen {
                port: forward.local,
                source,
            })?;
        listeners.push(accept(client.clone(), way, listener, forward, answers.clone()));
    }
    // Not tasks: when this future is dropped, the ports are free at once.
    join_all(listeners).await;
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
