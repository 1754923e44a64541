//! metrics-server, as the autoscaler sees it.

use std::net::{Ipv4Addr, TcpStream};

use serde_json::{Value, json};

use crate::process::{Process, free_port, program};
use crate::world::{TestResult, World, until};

/// The API that it serves.
const METRICS_API: &str = "v1beta1.metrics.k8s.io";

/// metrics-server as a process of this machine, and the API that it serves. Dropping it removes the API first, because discovery
/// fails for everybody while a registered API does not answer.
pub(crate) struct MetricsServer<'w> {
    world: &'w World,
    _process: Process,
}

impl<'w> MetricsServer<'w> {
    /// Starts it and registers its API. The API server reaches it through a Service without Pods.
    pub(crate) async fn start(world: &'w World) -> TestResult<Self> {
        let home = world.folder("metrics-server")?;
        let (host, port) = (world.host_address()?, free_port()?);
        let kubeconfig = world.kubeconfig("kube-system")?;
        let mut command = program(&world.controllers.join("metrics-server"), &home);
        for kind in ["", "authentication-", "authorization-"] {
            command.arg(format!("--{kind}kubeconfig={}", kubeconfig.display()));
        }
        command
            .arg(format!("--bind-address={host}"))
            .arg(format!("--secure-port={port}"))
            .arg(format!("--cert-dir={}", home.join("certificates").display()))
            // The kubelets signed their certificates themselves.
            .args([
                "--kubelet-insecure-tls",
                "--kubelet-preferred-address-types=InternalIP",
            ])
            .args(["--kubelet-use-node-status-port", "--kubelet-request-timeout=5s"])
            .arg("--metric-resolution=10s");
        let process = Process::start("metrics-server", &mut command)?;
        until("metrics-server listens", || {
            Ok(TcpStream::connect((host, port)).ok().map(drop))
        })
        .await?;
        world.apply(&api(host, port))?;
        Ok(Self {
            world,
            _process: process,
        })
    }
}

impl Drop for MetricsServer<'_> {
    fn drop(&mut self) {
        let deleted = self.world.kubectl(&["delete", "apiservice", METRICS_API]);
        if let Err(error) = deleted {
            println!("    {METRICS_API} stays: {error}");
        }
    }
}

/// The API of a metrics-server that listens there.
fn api(host: Ipv4Addr, port: u16) -> [Value; 3] {
    let metadata = |name: &str| json!({"name": name, "namespace": "kube-system"});
    let mut slice = metadata("metrics-server");
    slice["labels"] = json!({"kubernetes.io/service-name": "metrics-server"});
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata("metrics-server"),
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice,
            "addressType": "IPv4", "endpoints": [{"addresses": [host]}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": METRICS_API},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": {"name": "metrics-server", "namespace": "kube-system", "port": 443},
            },
        }),
    ]
}
