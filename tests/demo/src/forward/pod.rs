//! A connection to a ready Pod behind a Service.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;

use super::relay::without_delay;
use super::{Forward, ForwardError, Way};

/// An open connection to a Pod.
pub(super) enum Remote {
    Direct(TcpStream),
    Forwarded(kube::api::Portforwarder, DuplexStream),
}

/// Connects to a ready Pod of the Service: to the next one at each turn.
pub(super) async fn open(
    client: &Client,
    way: Way,
    forward: &Forward,
    turn: usize,
) -> Result<Remote, ForwardError> {
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
    let mut ready: Vec<Pod> = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| ForwardError::Api {
            action: "list the Service's Pods",
            source,
        })?
        .into_iter()
        .filter(is_ready)
        .collect();
    let next = turn
        .checked_rem(ready.len())
        .ok_or_else(|| ForwardError::NoPod(forward.service.clone()))?;
    let pod = ready.swap_remove(next);

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
    use std::convert::Infallible;
    use std::net::Ipv4Addr;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn pod(ready: &str) -> Pod {
        serde_json::from_value(json!({
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

    /// An API server that knows one Service and its Pod at 127.0.0.1.
    fn api_server(port: u16) -> Client {
        let answer = move |request: Request<Body>| async move {
            let answer = if request.uri().path().ends_with("/services/azure-devops") {
                json!({"metadata": {"name": "azure-devops"},
                    "spec": {"selector": {"app": "azure-devops"}, "ports": [{"port": 8080, "targetPort": port}]}})
            } else {
                let mut pod = serde_json::to_value(pod("True")).unwrap();
                pod["status"]["podIP"] = json!("127.0.0.1");
                json!({"metadata": {}, "items": [pod]})
            };
            Ok::<_, Infallible>(Response::new(Body::from(answer.to_string().into_bytes())))
        };
        Client::new(tower::service_fn(answer), "mcp")
    }

    #[tokio::test]
    async fn small_pieces_to_the_pod_do_not_wait_for_an_acknowledgement() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let forward = Forward {
            local: 0,
            namespace: "mcp".to_owned(),
            service: "azure-devops".to_owned(),
            port: 8080,
        };
        let client = api_server(listener.local_addr().unwrap().port());
        let Ok(Remote::Direct(stream)) = open(&client, Way::Direct, &forward, 0).await else {
            panic!("no direct connection");
        };
        assert!(stream.nodelay().unwrap());
    }
}
