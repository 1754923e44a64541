//! Certificates and kubeconfigs, made by kubeadm.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::names;
use crate::cluster::ClusterError;
use crate::cluster::registry::Record;
use crate::command::Call;
use crate::files;
use crate::toolchain::Toolchain;

/// The certificates and kubeconfigs of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    directory: PathBuf,
}

impl Pki {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            directory: record.directory().join("pki"),
        }
    }

    /// A certificate or key, by its path below kubeadm's folder of certificates.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join("certificates").join(name)
    }

    /// For users and tests.
    pub(crate) fn admin(&self) -> PathBuf {
        self.directory.join("admin.conf")
    }

    /// For the first steps, when not even administrators have a role yet.
    pub(crate) fn super_admin(&self) -> PathBuf {
        self.directory.join("super-admin.conf")
    }

    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.conf"))
    }

    pub(crate) fn kubelet(&self, node: u8) -> PathBuf {
        self.component(&format!("kubelet-{node}"))
    }
}

/// Makes everything for a cluster of this record.
pub(crate) fn create(record: &Record, tools: &Toolchain, version: &str) -> Result<Pki, ClusterError> {
    let pki = Pki::of(record);
    let file = pki.directory.join("kubeadm.yaml");
    files::write(&file, configuration(record, &pki, version))?;
    let init = |phase: [&str; 2], directory: Option<&Path>| {
        let call = kubeadm(tools)
            .args(["init", "phase"])
            .args(phase)
            .arg("--config")
            .arg(&file);
        match directory {
            Some(directory) => call.arg("--kubeconfig-dir").arg(directory).run(),
            None => call.run(),
        }
    };
    init(["certs", "all"], None)?;
    init(["kubeconfig", "all"], Some(&pki.directory))?;
    let user = |name: &str, more: &[&str]| {
        let call = kubeadm(tools).args(["kubeconfig", "user", "--config"]).arg(&file);
        call.args(["--client-name", name]).args(more).text()
    };
    for node in 0..record.nodes {
        let name = format!("system:node:{}", names::node_name(record, node));
        files::write(&pki.kubelet(node), user(&name, &["--org", "system:nodes"])?)?;
    }
    files::write(&pki.component("kube-proxy"), user("system:kube-proxy", &[])?)?;
    Ok(pki)
}

fn kubeadm(tools: &Toolchain) -> Call {
    Call::new(tools.cluster()).arg("kubeadm")
}

fn configuration(record: &Record, pki: &Pki, version: &str) -> String {
    let addresses = record.addresses();
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": addresses.node(0), "bindPort": names::API_PORT},
        "nodeRegistration": {
            "name": names::node_name(record, 0),
            "criSocket": names::CONTAINERD_ENDPOINT,
        },
    });
    let cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": format!("behalf-{}", record.name),
        "kubernetesVersion": version,
        "certificatesDir": pki.directory.join("certificates"),
        "networking": {
            "serviceSubnet": addresses.services().to_string(),
            "podSubnet": addresses.pods().to_string(),
            "dnsDomain": names::DOMAIN,
        },
        "apiServer": {"certSANs": ["localhost", "127.0.0.1", addresses.api_service()]},
    });
    // JSON is YAML: kubeadm reads both documents.
    format!("{init}\n---\n{cluster}\n")
}
