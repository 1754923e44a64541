//! The local cluster: real Kubernetes components in namespaces of their own, without Docker.

mod cgroup;
mod config;
mod dns;
mod health;
mod names;
mod network;
mod pki;
mod plan;
mod process;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use self::names::CONTAINERD_SOCKET;
use self::pki::Pki;
use self::process::NodeFiles;
use super::ClusterError;
use super::registry::{self, Record};
use crate::command::{Call, CommandError};
use crate::files::FileError;
use crate::images::{self, Image};
use crate::toolchain::{self, Clients, Toolchain};
use crate::{Progress, prerequisites};

pub(crate) use self::dns::HOST_NAME;

/// Maximum duration of one step of the start on a slow and busy machine.
const START_TIME: Duration = Duration::from_mins(2);

/// A running local cluster.
#[derive(Debug, Clone)]
pub(crate) struct LocalCluster {
    record: Record,
}

/// Brings the cluster up; one that is up already is only checked.
pub(crate) fn up(name: &str, nodes: u8, progress: &Progress) -> Result<LocalCluster, ClusterError> {
    registry::check_place(plan::REPLACED)?;
    prerequisites::ensure_local(progress)?;
    let tools = toolchain::ensure(progress, registry::tools_in_use)?;
    let pause = images::pause(&tools, progress)?;
    let _lock = registry::lock()?;
    if let Some(record) = registry::load(name)? {
        let cluster = LocalCluster { record };
        if cluster.record.tools == tools.directory() && cluster.record.nodes == nodes && cluster.is_healthy()
        {
            return Ok(cluster);
        }
        progress.step("remove what is left of an earlier cluster", || {
            tear_down(name, Some(&cluster.record))
        })?;
    }
    let record = Record {
        name: name.to_owned(),
        index: registry::free_index()?,
        tools: tools.directory().to_owned(),
        nodes,
        complete: false,
    };
    let mut cluster = LocalCluster { record };
    if let Err(error) = cluster.start(&tools, &pause, progress) {
        // The logs stay until the next `up` or `down`.
        cluster.kill()?;
        return Err(error);
    }
    cluster.record.complete = true;
    cluster.record.save()?;
    Ok(cluster)
}

/// Takes the cluster down and removes every trace of it. That there is none is fine.
pub(crate) fn down(name: &str) -> Result<(), ClusterError> {
    let _lock = registry::lock()?;
    match registry::load(name) {
        Ok(record) => tear_down(name, record.as_ref()),
        // Without a record the links and cgroups are unknown. Processes and files are still found and removed.
        Err(ClusterError::Record { .. }) => tear_down(name, None),
        Err(error) => Err(error),
    }
}

/// The cluster with this name, if it is there; it may be dead.
pub(crate) fn find(name: &str) -> Result<Option<LocalCluster>, ClusterError> {
    Ok(registry::load(name)?.map(|record| LocalCluster { record }))
}

/// All clusters of this machine.
pub(crate) fn all() -> Result<Vec<LocalCluster>, ClusterError> {
    Ok(registry::all()?
        .into_iter()
        .map(|record| LocalCluster { record })
        .collect())
}

fn tear_down(name: &str, record: Option<&Record>) -> Result<(), ClusterError> {
    let directory = registry::directory(name);
    for node in 0..super::addresses::MAX_NODES {
        process::kill(&NodeFiles::new(&directory, node).plan())?;
    }
    if let Some(record) = record {
        network::remove(record.addresses(), record.nodes);
        for node in 0..record.nodes {
            cgroup::remove(&cgroup::name(record.addresses(), node))?;
        }
    }
    registry::forget(name)
}

impl LocalCluster {
    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        Pki::of(&self.record).admin()
    }

    pub(crate) fn clients(&self) -> Clients {
        Toolchain::at(self.record.tools.clone()).clients()
    }

    /// The machine, as Pods reach it.
    pub(crate) fn host_address(&self) -> Ipv4Addr {
        self.record.addresses().host()
    }

    /// The URL of its API server.
    pub(crate) fn server(&self) -> String {
        format!("https://{}:{}", self.record.addresses().node(0), names::API_PORT)
    }

    /// Whether every node lives, the API server is ready and every node is `Ready`.
    pub(crate) fn is_healthy(&self) -> bool {
        let alive = |node: NodeFiles| process::holders(&node.plan()).inner.is_some();
        self.record.complete
            && self.each_node().all(alive)
            && self.api_ready(&self.kubeconfig()).is_ok()
            && self.nodes_ready().is_ok()
    }

    /// Loads image archives into every node.
    pub(crate) fn load(&self, images: &[Image]) -> Result<(), ClusterError> {
        for (number, node) in (0..).zip(self.each_node()) {
            let inner = self.inner(number, &node)?;
            let there = ctr(inner).args(["images", "list", "-q"]).text()?;
            for image in images
                .iter()
                .filter(|image| !there.lines().any(|line| line == image.reference()))
            {
                self.import(inner, &image.archive)?;
            }
        }
        Ok(())
    }

    /// Loads archives without looking at their contents.
    pub(crate) fn load_archives(&self, archives: &[PathBuf]) -> Result<(), ClusterError> {
        for (number, node) in (0..).zip(self.each_node()) {
            let inner = self.inner(number, &node)?;
            for archive in archives {
                self.import(inner, archive)?;
            }
        }
        Ok(())
    }

    /// Sends a signal such as `STOP` to a component, on every node that has it.
    pub(crate) fn signal(&self, component: &str, signal: &str) -> Result<(), ClusterError> {
        let mut found = false;
        for (number, node) in (0..).zip(self.each_node()) {
            let Some(status) = health::components(&node).remove(component) else {
                continue;
            };
            found = true;
            if status.pid != 0 {
                let inner = self.inner(number, &node)?;
                // Process numbers in the status are those of the node's own namespace.
                let arguments = [
                    "-c",
                    "kill -s \"$1\" \"$2\"",
                    "sh",
                    signal,
                    &status.pid.to_string(),
                ];
                process::in_processes(inner, "sh").args(arguments).run()?;
            }
        }
        if found {
            Ok(())
        } else {
            Err(ClusterError::UnknownComponent(component.to_owned()))
        }
    }

    fn start(&self, tools: &Toolchain, pause: &Image, progress: &Progress) -> Result<(), ClusterError> {
        let record = &self.record;
        record.save()?;
        let version = toolchain::kubernetes_version(&toolchain::module())?;
        let pki = progress.step("create certificates", || pki::create(record, tools, &version))?;
        progress.step("create nodes", || self.create_nodes(tools, &pki, pause))?;
        progress.step("start the API server", || {
            health::wait(
                record,
                "the API server is not ready",
                "kube-apiserver",
                START_TIME,
                || self.api_ready(&pki.super_admin()),
            )?;
            // Before the first `kubectl logs`: the API server's own client certificate is in this
            // group, and the kubelet remembers a refusal for half a minute.
            self.kubectl_as(&pki.super_admin(), &BIND_ADMINISTRATORS).run()?;
            Ok::<_, ClusterError>(())
        })?;
        progress.step("load images", || {
            health::wait(
                record,
                "containerd is not ready",
                "containerd",
                START_TIME,
                || self.runtimes_ready(),
            )?;
            self.load(std::slice::from_ref(pause))
        })?;
        let dns = dns::objects(record, tools, &pause.reference()).to_string();
        self.kubectl(&["apply", "--server-side", "-f", "-"])
            .input(dns)
            .run()?;
        progress.step("wait for the nodes", || {
            health::wait(record, "a node is not ready", "kubelet", START_TIME, || {
                self.nodes_ready()
            })
        })?;
        progress.step("wait for DNS", || {
            health::wait(record, "DNS is not ready", "kubelet", START_TIME, || {
                self.dns_ready()
            })
        })
    }

    fn create_nodes(&self, tools: &Toolchain, pki: &Pki, pause: &Image) -> Result<(), ClusterError> {
        let (record, addresses) = (&self.record, self.record.addresses());
        if !network::load_bridge_filter() {
            tracing::warn!(
                "The br_netfilter module is missing: a Pod cannot reach a Service whose Pod is on its node"
            );
        }
        network::create_bridge(addresses)?;
        for (number, node) in (0..).zip(self.each_node()) {
            cgroup::create(&cgroup::name(record.addresses(), number))?;
            config::write(record, pki, number, &node, &pause.reference())?;
            plan::write(record, tools, number, &node)?;
            process::launch(&tools.node(), &node.plan(), &node.log("node"))?;
            let inner = health::wait_for_holder(record, number, &node)?;
            network::connect(addresses, number, record.nodes, inner)?;
            let start = node.start();
            File::create(&start).map_err(FileError::at("create", &start))?;
        }
        Ok(())
    }

    fn kill(&self) -> Result<(), ClusterError> {
        self.each_node().try_for_each(|node| process::kill(&node.plan()))
    }

    fn each_node(&self) -> impl Iterator<Item = NodeFiles> + use<> {
        let directory = self.record.directory();
        (0..self.record.nodes).map(move |node| NodeFiles::new(&directory, node))
    }

    /// The first process inside a node.
    fn inner(&self, number: u8, node: &NodeFiles) -> Result<u32, ClusterError> {
        process::holders(&node.plan())
            .inner
            .ok_or_else(|| health::ended(&self.record, number, node))
    }

    fn import(&self, inner: u32, archive: &Path) -> Result<(), ClusterError> {
        let file = File::open(archive).map_err(FileError::at("open", archive))?;
        let snapshotter = config::snapshotter(&self.record.directory());
        ctr(inner)
            .args(["images", "import", "--snapshotter", snapshotter, "-"])
            .input_file(file)
            .run()?;
        Ok(())
    }

    fn kubectl(&self, arguments: &[&str]) -> Call {
        self.kubectl_as(&self.kubeconfig(), arguments)
    }

    fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Call {
        self.clients().call_kubectl(kubeconfig).args(arguments)
    }

    fn api_ready(&self, kubeconfig: &Path) -> Result<(), String> {
        self.kubectl_as(kubeconfig, &["get", "--raw=/readyz", "--request-timeout=5s"])
            .run()
            .map_err(text)
    }

    fn runtimes_ready(&self) -> Result<(), String> {
        for (number, node) in (0..).zip(self.each_node()) {
            let inner = self.inner(number, &node).map_err(|error| error.to_string())?;
            ctr(inner).arg("version").run().map_err(text)?;
        }
        Ok(())
    }

    fn nodes_ready(&self) -> Result<(), String> {
        let nodes = self
            .kubectl(&["get", "nodes", "-o", "json", "--request-timeout=5s"])
            .text()
            .map_err(text)?;
        let nodes: Value = serde_json::from_str(&nodes).map_err(|error| error.to_string())?;
        let items = nodes["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ready = items.iter().filter(|node| has_condition(node, "Ready")).count();
        let wanted = usize::from(self.record.nodes);
        if ready == wanted {
            Ok(())
        } else {
            Err(format!("{ready} of {wanted} nodes are ready"))
        }
    }

    fn dns_ready(&self) -> Result<(), String> {
        let arguments = ["get", "deployment", "coredns", "-n", "kube-system", "-o", "json"];
        let deployment = self.kubectl(&arguments).text().map_err(text)?;
        let deployment: Value = serde_json::from_str(&deployment).map_err(|error| error.to_string())?;
        if has_condition(&deployment, "Available") {
            Ok(())
        } else {
            Err("CoreDNS is not available".to_owned())
        }
    }
}

/// Makes the group of `admin.conf` administrators.
const BIND_ADMINISTRATORS: [&str; 5] = [
    "create",
    "clusterrolebinding",
    "kubeadm:cluster-admins",
    "--clusterrole=cluster-admin",
    "--group=kubeadm:cluster-admins",
];

fn ctr(inner: u32) -> Call {
    process::in_files(inner, "ctr").args(["--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"])
}

fn has_condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: CommandError) -> String {
    error.to_string()
}
