//! Configuration files of a node's components.

use std::path::Path;

use serde_json::{Value, json};

use super::cgroup;
use super::names::{CONTAINERD_ENDPOINT, CONTAINERD_SOCKET, DOMAIN, node_name};
use super::pki::Pki;
use super::process::NodeFiles;
use crate::cluster::registry::Record;
use crate::command::Call;
use crate::files::{self, FileError};

/// Writes the configuration of every component of the node.
pub(crate) fn write(
    record: &Record,
    pki: &Pki,
    node: u8,
    node_files: &NodeFiles,
    pause: &str,
) -> Result<(), FileError> {
    let directory = &node_files.directory;
    files::write(&directory.join("containerd.toml"), containerd(directory, pause))?;
    files::write(
        &directory.join("cni/10-behalf.conflist"),
        cni(record, node).to_string(),
    )?;
    files::write(
        &directory.join("kubelet.json"),
        kubelet(record, pki, node, directory).to_string(),
    )?;
    files::write(
        &directory.join("kube-proxy.json"),
        kube_proxy(record, pki, node).to_string(),
    )?;
    // Pods with `dnsPolicy: Default` get this file. The machine's own file names servers that no
    // Pod can reach.
    files::write(
        &directory.join("resolv.conf"),
        "# No server can be reached from here.\n",
    )
}

/// An overlay cannot lie on an overlay: in a container, layers have to be copied.
pub(crate) fn snapshotter(directory: &Path) -> &'static str {
    let kind = Call::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(directory)
        .text()
        .unwrap_or_default();
    if kind.trim() == "overlayfs" {
        "native"
    } else {
        "overlayfs"
    }
}

/// `certs.d` names the registries that use plain HTTP or a private authority, as containerd's
/// documentation of registry hosts says. `restrict_oom_score_adj`: where this machine lacks `CAP_SYS_RESOURCE`, runc could not start anything.
fn containerd(directory: &Path, pause: &str) -> String {
    let (cni, snapshotter) = (directory.join("cni"), snapshotter(directory));
    let registries = directory.join("certs.d");
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = {no_apparmor}

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{registries}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#,
        cni = cni.display(),
        registries = registries.display(),
        no_apparmor = !Path::new("/sys/kernel/security/apparmor/profiles").exists(),
    )
}

/// No masquerading: host and nodes have routes to every Pod, so Pods keep their own addresses.
fn cni(record: &Record, node: u8) -> Value {
    let subnet = record.addresses().node_pods(node).to_string();
    json!({
        "cniVersion": "1.0.0",
        "name": "behalf",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet(record: &Record, pki: &Pki, node: u8, directory: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroup::name(record.addresses(), node)),
        "clusterDNS": [record.addresses().dns()],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": CONTAINERD_ENDPOINT,
        // A full disk of the machine must not evict a test's Pods or delete its images.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "resolvConf": directory.join("resolv.conf"),
        "serializeImagePulls": false,
        // The kubelet updates mounted ConfigMaps and Secrets within this time. Its default is a minute.
        "syncFrequency": "10s",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // The kubelet evicts a Pod for a full directory after this time at most. Its default is a minute.
        "volumeStatsAggPeriod": "10s",
    })
}

fn kube_proxy(record: &Record, pki: &Pki, node: u8) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": pki.component("kube-proxy")},
        "clusterCIDR": record.addresses().pods().to_string(),
        "detectLocalMode": "ClusterCIDR",
        "hostnameOverride": node_name(record, node),
        "mode": "nftables",
        "oomScoreAdj": 0,
        // Zero keeps the machine's own limits.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    })
}
