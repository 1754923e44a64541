//! Loopback ports that lead to Services of a cluster, whatever Pods stand behind them at the moment.
//!
//! Every connection asks the API server for a ready Pod, so a forwarded address survives restarts and rollouts;
//! connections that are open when a Pod dies break, as behind any load balancer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::io::InspectReader;

/// How often, and how long apart, a connection looks for a ready Pod before it is closed.
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
        /// What the client saw.
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

/// What came back through the loopback ports: for each connection its port and every byte.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<(u16, Copied)>>>);

/// What one connection brought back so far.
type Copied = Arc<Mutex<Vec<u8>>>;

impl Answers {
    /// What came back through this port so far, connection by connection.
    pub fn of(&self, port: u16) -> Vec<Vec<u8>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|(through, _)| *through == port)
            .map(|(_, bytes)| bytes.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    fn connection(&self, port: u16) -> Copied {
        let bytes = Arc::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((port, Arc::clone(&bytes)));
        bytes
    }
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

async fn connection(
    client: &Client,
    way: Way,
    local: TcpStream,
    forward: &Forward,
    answers: Option<Answers>,
) -> Result<(), ForwardError> {
    let mut last = ForwardError::NoPod(forward.service.clone());
    for _ in 0..ATTEMPTS {
        match open(client, way, forward).await {
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

/// Copies in both directions. The end of one direction is passed on at once and leaves the other one open. An
/// answer thus arrives even if its reader still writes, or has finished writing.
async fn relay(local: TcpStream, remote: impl AsyncRead + AsyncWrite, copy: Option<Copied>) {
    without_delay(&local);
    let (mut from_client, mut to_client) = tokio::io::split(local);
    let (from_pod, mut to_pod) = tokio::io::split(remote);
    let mut from_pod = InspectReader::new(from_pod, |bytes| {
        if let Some(copy) = &copy {
            let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
            copy.extend_from_slice(bytes);
        }
    });
    // Each end may close or reset at any time. That ends its direction and is not an error.
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_pod, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// Makes the connection send small pieces at once. Otherwise the second of two would wait 40 ms for the
/// peer's delayed acknowledgement.
fn without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        // The connection is already closed; the first read reports it.
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "Unable to set TCP_NODELAY"
        );
    }
}

/// An open connection to a Pod.
enum Remote {
    Direct(TcpStream),
    Forwarded(kube::api::Portforwarder, DuplexStream),
}

async fn open(client: &Client, way: Way, forward: &Forward) -> Result<Remote, ForwardError> {
    let no_port = || ForwardError::NoPort {
        service: forward.service.clone(),
        port: forward.port,
    };
    let services: Api<Service> = Api::namespaced(client.clone(), &forward.namespace);
    let service = services
        .get(&forward.service)
        .await
        .map_err(|source| ForwardError::Api {
            action: "read the Service",
            source,
        })?;
    let spec = service.spec.unwrap_or_default();
    let target = spec
        .ports
        .unwrap_or_default()
        .into_iter()
        .find(|port| port.port == i32::from(forward.port))
        .ok_or_else(no_port)?
        .target_port
        .unwrap_or(IntOrString::Int(i32::from(forward.port)));

    let pods: Api<Pod> = Api::namespaced(client.clone(), &forward.namespace);
    let selector = labels(&spec.selector.unwrap_or_default());
    let pod = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| ForwardError::Api {
            action: "list the Service's Pods",
            source,
        })?
        .into_iter()
        .find(is_ready)
        .ok_or_else(|| ForwardError::NoPod(forward.service.clone()))?;

    let port = container_port(&pod, &target).ok_or_else(no_port)?;
    let address = pod.status.and_then(|status| status.pod_ip);
    let name = pod.metadata.name.unwrap_or_default();
    if way == Way::Direct {
        let address = address.ok_or_else(|| ForwardError::NoPod(forward.service.clone()))?;
        let stream = TcpStream::connect((address.as_str(), port))
            .await
            .map_err(|source| ForwardError::Connect { pod: name, source })?;
        without_delay(&stream);
        return Ok(Remote::Direct(stream));
    }
    let mut forwarder = pods
        .portforward(&name, &[port])
        .await
        .map_err(|source| ForwardError::Api {
            action: "forward a port of the Pod",
            source,
        })?;
    let stream = forwarder.take_stream(port).ok_or_else(no_port)?;
    Ok(Remote::Forwarded(forwarder, stream))
}

fn labels(selector: &BTreeMap<String, String>) -> String {
    selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|all| {
                all.iter()
                    .any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
}

fn container_port(pod: &Pod, target: &IntOrString) -> Option<u16> {
    match target {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(name) => {
            let spec = pod.spec.as_ref()?;
            let containers = spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten());
            containers
                .flat_map(|container| container.ports.iter().flatten())
                .find(|port| port.name.as_deref() == Some(name))
                .and_then(|port| u16::try_from(port.container_port).ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn pod(ready: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "spec": {
                "initContainers": [{"name": "sidecar", "ports": [{"name": "http", "containerPort": 8080}]}],
                "containers": [{"name": "server"}],
            },
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn finds_a_named_port_of_a_native_sidecar() {
        assert_eq!(
            container_port(&pod("True"), &IntOrString::String("http".into())),
            Some(8080)
        );
        assert_eq!(
            container_port(&pod("True"), &IntOrString::String("other".into())),
            None
        );
        assert_eq!(container_port(&pod("True"), &IntOrString::Int(9090)), Some(9090));
    }

    #[test]
    fn takes_only_ready_pods() {
        assert!(is_ready(&pod("True")));
        assert!(!is_ready(&pod("False")));
    }

    /// A client, and the server that it reaches through a relay.
    async fn connected() -> (TcpStream, TcpStream) {
        let [front, back] = [
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
        ];
        let client = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
        let remote = TcpStream::connect(back.local_addr().unwrap()).await.unwrap();
        let (local, _) = front.accept().await.unwrap();
        let (server, _) = back.accept().await.unwrap();
        tokio::spawn(relay(local, remote, None));
        (client, server)
    }

    #[tokio::test]
    async fn a_close_of_the_pod_reaches_a_client_that_goes_on_sending() {
        let (mut client, mut server) = connected().await;
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");

        client.write_all(b"rest").await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"rest");
    }

    #[tokio::test]
    async fn a_client_that_has_finished_sending_gets_its_answer() {
        let (mut client, mut server) = connected().await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    }

    #[tokio::test]
    async fn small_pieces_do_not_wait_for_an_acknowledgement() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!stream.nodelay().unwrap());
        without_delay(&stream);
        assert!(stream.nodelay().unwrap());
    }
}
