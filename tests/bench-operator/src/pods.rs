//! The stub of kubelet and sidecar: it makes each new Pod run and ready, and serves the status documents of all of them.
//!
//! Each Pod has a loopback address of its own, as Linux has 127.0.0.0/8. The operator reads port 9090 of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use behalf_contract::{
    FederationReport, HandshakeReport, Keyring, KeyringReport, Outcome, ServerInfo, SessionsReport,
    StatusDocument, StoreKind, digest, ports,
};
use behalf_operator::controller::names;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::{BenchError, Step as _};
use crate::objects::NAMESPACE;

/// Maximum number of Pods that are made ready at the same time.
const CONCURRENCY: usize = 16;

/// The audience of every Pod's token.
const AUDIENCE: &str = "api://AzureADTokenExchange";

type Documents = Arc<Mutex<HashMap<IpAddr, String>>>;

/// The running stub. It ends when it is dropped.
pub(crate) struct Pods(Vec<JoinHandle<()>>);

impl Drop for Pods {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Pods {
    /// Listens on port 9090 of all loopback addresses, and begins with the Pods that appear.
    pub(crate) async fn start(client: Client) -> Result<Self, BenchError> {
        let documents = Documents::default();
        let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), ports::INTERNAL);
        let listener = TcpListener::bind(address)
            .await
            .step(format_args!("listen on {address}, as each Pod does"))?;
        let router = Router::new()
            .route("/status", get(status))
            .with_state(documents.clone());
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let running = tokio::spawn(run(client, documents));
        Ok(Self(vec![serving, running]))
    }
}

/// The address of the Pod is in the header `Host`.
async fn status(State(documents): State<Documents>, headers: HeaderMap) -> (StatusCode, String) {
    let host = headers.get("host").and_then(|host| host.to_str().ok());
    let address = host.and_then(|host| host.parse::<SocketAddr>().ok());
    let documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
    match address.and_then(|address| documents.get(&address.ip())) {
        Some(document) => (StatusCode::OK, document.clone()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

async fn run(client: Client, documents: Documents) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let mut next = 0_u32;
    let mut addresses = HashMap::new();
    watcher(pods.clone(), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .filter_map(|event| std::future::ready(event.ok()))
        .filter_map(|pod| {
            // Each Pod once, with the next address. 127.0.0.0/16 is left to others.
            let uid = pod.uid().unwrap_or_default();
            let is_new = pod.metadata.deletion_timestamp.is_none() && !addresses.contains_key(&uid);
            let address = is_new.then(|| {
                next += 1;
                let address = IpAddr::from(Ipv4Addr::from_bits((127 << 24) + (1 << 16) + next));
                addresses.insert(uid, address);
                address
            });
            std::future::ready(address.map(|address| (pod, address)))
        })
        .for_each_concurrent(CONCURRENCY, |(pod, address)| {
            let (pods, secrets, documents) = (&pods, &secrets, &documents);
            async move {
                let document = document(&pod, secrets).await;
                if let Ok(document) =
                    document.and_then(|document| serde_json::to_string(&document).step("write JSON"))
                {
                    let mut documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
                    documents.insert(address, document);
                }
                let patch = Patch::Merge(running(address));
                // A Pod that was deleted meanwhile needs none.
                let _ = pods
                    .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
                    .await;
            }
        })
        .await;
}

/// The status of a Pod whose containers run and are ready.
fn running(address: IpAddr) -> serde_json::Value {
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": Timestamp::UNIX_EPOCH});
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
    }})
}

/// The status document of a Pod in which everything works.
async fn document(pod: &Pod, secrets: &Api<Secret>) -> Result<StatusDocument, BenchError> {
    let server = pod.labels().get(names::SERVER_LABEL).cloned().unwrap_or_default();
    let keyring = file(secrets, &names::keyring_secret(&server), names::KEYRING_KEY).await?;
    let revocations = file(secrets, &names::revocations(&server), names::REVOCATIONS_KEY).await?;
    let keys = Keyring::parse(&keyring).step("read a keyring")?.sessions;
    let configuration = pod.annotations().get(names::SIDECAR_DIGEST_ANNOTATION);
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref());
    let observed_at = Some(Timestamp::UNIX_EPOCH);
    Ok(StatusDocument {
        configuration_digest: configuration.cloned().unwrap_or_default(),
        keyring: KeyringReport {
            sealing: keys.sealing,
            opening: keys.keys.into_iter().map(|key| key.id).collect(),
            ..KeyringReport::default()
        },
        revocations_digest: Some(digest::format_sha256(&Sha256::digest(&revocations).into())),
        federation: FederationReport {
            outcome: Outcome::Verified,
            reason: "TokenAccepted".to_owned(),
            message: String::new(),
            correlation_id: None,
            issuer: Some("https://kubernetes.default.svc.cluster.local".to_owned()),
            subject: Some(names::subject(NAMESPACE, account.unwrap_or_default())),
            audience: Some(AUDIENCE.to_owned()),
            observed_at,
        },
        handshake: HandshakeReport {
            outcome: Outcome::Verified,
            reason: "HandshakeSucceeded".to_owned(),
            message: String::new(),
            server_info: Some(ServerInfo {
                name: "behalf-mcp-server".to_owned(),
                version: "0.1.0".to_owned(),
                protocol_version: "2025-11-25".to_owned(),
                tools: 4,
            }),
            is_stateful: false,
            observed_at,
        },
        tenant: None,
        sign_in: None,
        sessions: SessionsReport {
            store: StoreKind::Memory,
            reachable: Some(true),
            eviction_policy: None,
        },
    })
}

async fn file(secrets: &Api<Secret>, name: &str, key: &str) -> Result<Vec<u8>, BenchError> {
    let secret = secrets.get(name).await.step(format_args!("read Secret {name}"))?;
    let file = secret.data.and_then(|mut data| data.remove(key));
    Ok(file.unwrap_or_default().0)
}
