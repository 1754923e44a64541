//! Clusters to test and to show Behalf on.
//!
//! Three kinds: a local one of real components without Docker ([`Kind::Local`]), one in Docker
//! ([`Kind::Kind`]), and the cluster of KUBECONFIG ([`Kind::Current`]).

mod addresses;
mod current;
mod error;
mod kind;
mod local;
mod registry;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use self::addresses::MAX_NODES;
pub use self::error::ClusterError;
use self::local::LocalCluster;
pub(crate) use self::registry::tools_in_use;
use crate::images::Image;
use crate::{Call, Clients, Progress, files, prerequisites, toolchain};

/// The kinds of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Real components in namespaces of their own on this machine; needs root on Linux.
    Local,

    /// A kind cluster in Docker.
    Kind,

    /// The cluster of KUBECONFIG, or of `~/.kube/config`.
    Current,
}

impl Kind {
    /// The name as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kind => "kind",
            Self::Current => "current",
        }
    }
}

impl FromStr for Kind {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        [Self::Local, Self::Kind, Self::Current]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| ClusterError::UnknownKind(text.to_owned()))
    }
}

/// The kind to use: the requested one, else kind when Docker answers, else local.
pub fn choose(requested: Option<Kind>) -> Kind {
    requested.unwrap_or_else(|| {
        if prerequisites::docker_answers() {
            Kind::Kind
        } else {
            Kind::Local
        }
    })
}

/// Description of a cluster to start.
#[derive(Debug)]
pub struct Options {
    /// Names the cluster; clusters with different names live side by side.
    pub name: String,

    /// The kind of cluster.
    pub kind: Kind,

    /// Number of nodes, at most [`MAX_NODES`]. The current cluster has the nodes that it has.
    pub nodes: u8,

    /// Hears about the steps.
    pub progress: Progress,
}

impl Options {
    /// One node of the kind that fits this machine.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: choose(None),
            nodes: 1,
            progress: Progress::default(),
        }
    }
}

/// A name for a cluster that no other checkout on this machine uses: the purpose, and a hash of
/// this checkout's path.
pub fn checkout_name(purpose: &str) -> String {
    let path = files::ContentName::default()
        .text(&files::checkout().to_string_lossy())
        .finish();
    format!("{purpose}-{}", &path[..6])
}

/// A cluster that runs. It goes on running when this value is dropped; see [`down`].
#[derive(Debug, Clone)]
pub struct Cluster {
    name: String,
    kubeconfig: PathBuf,
    clients: Clients,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Local(LocalCluster),
    Kind,
    Current(current::Images),
}

/// Brings a cluster up. One that is up and healthy is left alone; a dead one is replaced.
pub fn up(options: &Options) -> Result<Cluster, ClusterError> {
    let Options {
        name,
        kind,
        nodes,
        progress,
    } = options;
    registry::check_name(name)?;
    if !(1..=MAX_NODES).contains(nodes) {
        return Err(ClusterError::Nodes {
            asked: *nodes,
            max: MAX_NODES,
        });
    }
    match kind {
        Kind::Local => Ok(Cluster::local(local::up(name, *nodes, progress)?)),
        Kind::Kind => {
            let clients = toolchain::clients(progress, registry::tools_in_use)?;
            let kubeconfig = kind::up(name, *nodes, progress)?;
            Ok(Cluster {
                name: name.clone(),
                kubeconfig,
                clients,
                backend: Backend::Kind,
            })
        }
        Kind::Current => {
            let clients = toolchain::clients(progress, registry::tools_in_use)?;
            let (kubeconfig, images) = current::up(&clients)?;
            Ok(Cluster {
                name: name.clone(),
                kubeconfig,
                clients,
                backend: Backend::Current(images),
            })
        }
    }
}

/// Takes a local or kind cluster down and removes what belongs to it; that there is none is fine.
/// The current cluster is never ours to take down.
pub fn down(name: &str, kind: Kind) -> Result<(), ClusterError> {
    registry::check_name(name)?;
    match kind {
        Kind::Local => local::down(name),
        Kind::Kind => kind::down(name),
        Kind::Current => Ok(()),
    }
}

/// A cluster that was brought up before. A local one may be dead; see [`Cluster::is_healthy`].
pub fn open(name: &str, kind: Kind) -> Result<Cluster, ClusterError> {
    registry::check_name(name)?;
    if kind == Kind::Local {
        let found = local::find(name)?.ok_or_else(|| ClusterError::Unknown(name.to_owned()))?;
        return Ok(Cluster::local(found));
    }
    if kind == Kind::Kind && !kind::exists(name)? {
        return Err(ClusterError::Unknown(name.to_owned()));
    }
    up(&Options {
        name: name.to_owned(),
        kind,
        nodes: 1,
        progress: Progress::default(),
    })
}

/// All local clusters of this machine, dead or alive.
pub fn list() -> Result<Vec<Cluster>, ClusterError> {
    Ok(local::all()?.into_iter().map(Cluster::local).collect())
}

impl Cluster {
    fn local(cluster: LocalCluster) -> Self {
        Self {
            name: cluster.name().to_owned(),
            kubeconfig: cluster.kubeconfig(),
            clients: cluster.clients(),
            backend: Backend::Local(cluster),
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind that it is of.
    pub fn kind(&self) -> Kind {
        match self.backend {
            Backend::Local(_) => Kind::Local,
            Backend::Kind => Kind::Kind,
            Backend::Current(_) => Kind::Current,
        }
    }

    /// A kubeconfig with an administrator's rights.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The programs that talk to it.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Runs kubectl and returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        Ok(self.kubectl_call(arguments).text()?)
    }

    /// Runs kubectl with something to read, as for `apply -f -`.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, ClusterError> {
        Ok(self.kubectl_call(arguments).input(input).text()?)
    }

    /// Runs helm and returns what it prints.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        let call = self.clients.call_helm(&self.kubeconfig);
        Ok(call.args(arguments).text()?)
    }

    /// Makes images available in the cluster; those that are there already cost nothing.
    pub fn load(&self, images: &[Image]) -> Result<(), ClusterError> {
        match &self.backend {
            Backend::Local(cluster) => cluster.load(images),
            Backend::Kind => kind::load(&self.name, images.iter().map(|image| image.archive.as_path())),
            Backend::Current(target) => target.load(images),
        }
    }

    /// Loads image archives that were made elsewhere.
    pub fn load_archives(&self, archives: &[PathBuf]) -> Result<(), ClusterError> {
        match &self.backend {
            Backend::Local(cluster) => cluster.load_archives(archives),
            Backend::Kind => kind::load(&self.name, archives.iter().map(PathBuf::as_path)),
            Backend::Current(target) => target.load_archives(archives),
        }
    }

    /// The reference by which Pods of this cluster name a loaded image.
    pub fn image_reference(&self, image: &Image) -> String {
        match &self.backend {
            Backend::Current(target) => target.reference(image),
            Backend::Local(_) | Backend::Kind => image.reference(),
        }
    }

    /// The address at which Pods reach this machine; known of the local cluster only.
    pub fn host_address(&self) -> Option<Ipv4Addr> {
        self.as_local().map(LocalCluster::host_address)
    }

    /// The name under which Pods find this machine; known of the local cluster only.
    pub fn host_name(&self) -> Option<&'static str> {
        self.as_local().map(|_| local::HOST_NAME)
    }

    /// Whether all of it works right now.
    pub fn is_healthy(&self) -> bool {
        match &self.backend {
            Backend::Local(cluster) => cluster.is_healthy(),
            Backend::Kind | Backend::Current(_) => self.kubectl(&["get", "--raw=/readyz"]).is_ok(),
        }
    }

    /// Stops a component such as `kube-apiserver` in its tracks, to see what an outage does.
    pub fn pause(&self, component: &str) -> Result<(), ClusterError> {
        self.signal(component, "STOP")
    }

    /// Lets a paused component go on.
    pub fn resume(&self, component: &str) -> Result<(), ClusterError> {
        self.signal(component, "CONT")
    }

    /// Kills a component; it is started again within a second.
    pub fn restart(&self, component: &str) -> Result<(), ClusterError> {
        self.signal(component, "KILL")
    }

    /// Takes the cluster down.
    pub fn down(self) -> Result<(), ClusterError> {
        down(&self.name, self.kind())
    }

    fn signal(&self, component: &str, signal: &str) -> Result<(), ClusterError> {
        let what = "signal its components";
        let local = self.as_local().ok_or(ClusterError::Unsupported {
            kind: self.kind().name(),
            what,
        })?;
        local.signal(component, signal)
    }

    fn as_local(&self) -> Option<&LocalCluster> {
        match &self.backend {
            Backend::Local(cluster) => Some(cluster),
            Backend::Kind | Backend::Current(_) => None,
        }
    }

    fn kubectl_call(&self, arguments: &[&str]) -> Call {
        self.clients.call_kubectl(&self.kubeconfig).args(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_names() {
        for kind in [Kind::Local, Kind::Kind, Kind::Current] {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), kind);
        }
        "minikube".parse::<Kind>().unwrap_err();
    }

    #[test]
    fn a_request_wins() {
        assert_eq!(choose(Some(Kind::Current)), Kind::Current);
    }

    #[test]
    fn checkout_names_are_usable() {
        registry::check_name(&checkout_name("demo")).unwrap();
    }
}
