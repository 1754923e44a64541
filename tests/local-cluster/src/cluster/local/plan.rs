//! The plan of a node: what its first process mounts and starts.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::names::{self, API_PORT, CONTAINERD_SOCKET};
use super::pki::Pki;
use super::process::NodeFiles;
use crate::cluster::ClusterError;
use crate::cluster::registry::Record;
use crate::files;
use crate::toolchain::Toolchain;

/// Folders of the machine that a node replaces by its own.
pub(crate) const REPLACED: &[&str] = &["/run", "/var/lib", "/var/log"];

/// Kernel settings that the kubelet insists on. They belong to the whole machine: a node sees files
/// with the right values in their place, and the machine keeps its own.
const KERNEL_SETTINGS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1\n"),
    ("kernel/panic", "10\n"),
    ("kernel/panic_on_oops", "1\n"),
    ("kernel/keys/root_maxkeys", "1000000\n"),
    ("kernel/keys/root_maxbytes", "25000000\n"),
];

const ETCD: &str = "127.0.0.1:2379";

#[derive(Serialize)]
struct Plan {
    mounts: Vec<Mount>,
    start: PathBuf,
    status: PathBuf,
    processes: Vec<Process>,
}

#[derive(Serialize)]
struct Mount {
    /// Absent for an empty tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<PathBuf>,
    target: PathBuf,
}

#[derive(Serialize)]
struct Process {
    name: &'static str,
    argv: Vec<String>,
    log: PathBuf,
    after: Vec<String>,
}

/// Writes the plan of one node, with all folders that it speaks of.
pub(crate) fn write(
    record: &Record,
    tools: &Toolchain,
    node: u8,
    node_files: &NodeFiles,
) -> Result<(), ClusterError> {
    files::create_directory(&node_files.logs())?;
    let writer = Writer {
        record,
        tools,
        pki: &Pki::of(record),
        node,
        files: node_files,
    };
    let mut processes = if node == 0 {
        writer.control_plane()
    } else {
        Vec::new()
    };
    processes.extend(writer.node());
    let plan = Plan {
        mounts: mounts(node_files)?,
        start: node_files.start(),
        status: node_files.status(),
        processes,
    };
    let path = node_files.plan();
    let text = serde_json::to_vec_pretty(&plan).map_err(|source| ClusterError::Record {
        path: path.clone(),
        source,
    })?;
    Ok(files::write(&path, text)?)
}

fn mounts(node_files: &NodeFiles) -> Result<Vec<Mount>, ClusterError> {
    let mut mounts = vec![Mount {
        source: None,
        target: "/run".into(),
    }];
    for (folder, target) in [("lib", "/var/lib"), ("log", "/var/log")] {
        let source = node_files.directory.join(folder);
        files::create_directory(&source)?;
        mounts.push(Mount {
            source: Some(source),
            target: target.into(),
        });
    }
    for (setting, value) in KERNEL_SETTINGS {
        let target = Path::new("/proc/sys").join(setting);
        if target.exists() {
            let source = node_files.directory.join("sys").join(setting.replace('/', "."));
            files::write(&source, value)?;
            mounts.push(Mount {
                source: Some(source),
                target,
            });
        }
    }
    Ok(mounts)
}

struct Writer<'a> {
    record: &'a Record,
    tools: &'a Toolchain,
    pki: &'a Pki,
    node: u8,
    files: &'a NodeFiles,
}

impl Writer<'_> {
    fn control_plane(&self) -> Vec<Process> {
        let pki = |name| self.pki.file(name).display().to_string();
        let (controllers, scheduler) = (
            self.pki.component("controller-manager"),
            self.pki.component("scheduler"),
        );
        let etcd_data = self.record.directory().join("etcd");
        vec![
            self.component(
                "etcd",
                &[],
                &[
                    ("data-dir", etcd_data.display().to_string()),
                    ("listen-client-urls", format!("http://{ETCD}")),
                    ("advertise-client-urls", format!("http://{ETCD}")),
                    ("listen-peer-urls", "http://127.0.0.1:2380".to_owned()),
                    ("log-level", "warn".to_owned()),
                    // The data is deleted with the cluster, so it need not survive a crash of the machine.
                    ("unsafe-no-fsync", "true".to_owned()),
                ],
            ),
            self.component(
                "kube-apiserver",
                &[format!("tcp:{ETCD}")],
                &[
                    ("advertise-address", self.address(0)),
                    ("secure-port", API_PORT.to_string()),
                    ("allow-privileged", "true".to_owned()),
                    ("authorization-mode", "Node,RBAC".to_owned()),
                    ("enable-admission-plugins", "NodeRestriction".to_owned()),
                    ("etcd-servers", format!("http://{ETCD}")),
                    (
                        "service-cluster-ip-range",
                        self.record.addresses().services().to_string(),
                    ),
                    ("client-ca-file", pki("ca.crt")),
                    ("tls-cert-file", pki("apiserver.crt")),
                    ("tls-private-key-file", pki("apiserver.key")),
                    // The DNS server does not know the nodes' names, so `kubectl logs` and `exec` need addresses.
                    ("kubelet-preferred-address-types", "InternalIP".to_owned()),
                    ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
                    ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
                    (
                        "service-account-issuer",
                        format!("https://kubernetes.default.svc.{}", names::DOMAIN),
                    ),
                    ("service-account-key-file", pki("sa.pub")),
                    ("service-account-signing-key-file", pki("sa.key")),
                    ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
                    ("requestheader-allowed-names", "front-proxy-client".to_owned()),
                    ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
                    ("requestheader-group-headers", "X-Remote-Group".to_owned()),
                    ("requestheader-username-headers", "X-Remote-User".to_owned()),
                    ("proxy-client-cert-file", pki("front-proxy-client.crt")),
                    ("proxy-client-key-file", pki("front-proxy-client.key")),
                ],
            ),
            self.component(
                "kube-controller-manager",
                &[self.api()],
                &[
                    ("kubeconfig", controllers.display().to_string()),
                    ("leader-elect", "false".to_owned()),
                    ("use-service-account-credentials", "true".to_owned()),
                    // At the default rate its controllers take four seconds to start one by one.
                    ("kube-api-qps", "500".to_owned()),
                    ("kube-api-burst", "1000".to_owned()),
                    ("service-account-private-key-file", pki("sa.key")),
                    ("root-ca-file", pki("ca.crt")),
                    ("cluster-signing-cert-file", pki("ca.crt")),
                    ("cluster-signing-key-file", pki("ca.key")),
                    ("bind-address", "127.0.0.1".to_owned()),
                    (
                        "flex-volume-plugin-dir",
                        "/var/lib/kubelet/volume-plugins".to_owned(),
                    ),
                ],
            ),
            self.component(
                "kube-scheduler",
                &[self.api()],
                &[
                    ("kubeconfig", scheduler.display().to_string()),
                    ("leader-elect", "false".to_owned()),
                    ("bind-address", "127.0.0.1".to_owned()),
                ],
            ),
        ]
    }

    fn node(&self) -> Vec<Process> {
        let file = |name: &str| self.files.directory.join(name).display().to_string();
        vec![
            Process {
                name: "containerd",
                argv: vec![
                    "containerd".to_owned(),
                    "--config".to_owned(),
                    file("containerd.toml"),
                ],
                log: self.files.log("containerd"),
                after: Vec::new(),
            },
            self.component(
                "kubelet",
                &[format!("unix:{CONTAINERD_SOCKET}"), self.api()],
                &[
                    ("config", file("kubelet.json")),
                    ("kubeconfig", self.pki.kubelet(self.node).display().to_string()),
                    ("hostname-override", names::node_name(self.record, self.node)),
                    ("node-ip", self.address(self.node)),
                ],
            ),
            self.component(
                "kube-proxy",
                &[self.api()],
                &[("config", file("kube-proxy.json"))],
            ),
        ]
    }

    /// A component of our own binary; `after` are the sockets that it needs.
    fn component(&self, name: &'static str, after: &[String], flags: &[(&str, String)]) -> Process {
        let mut argv = vec![self.tools.cluster().display().to_string(), name.to_owned()];
        argv.extend(flags.iter().map(|(flag, value)| format!("--{flag}={value}")));
        Process {
            name,
            argv,
            log: self.files.log(name),
            after: after.to_vec(),
        }
    }

    fn address(&self, node: u8) -> String {
        self.record.addresses().node(node).to_string()
    }

    fn api(&self) -> String {
        format!("tcp:{}:{API_PORT}", self.address(0))
    }
}
