//! A running environment.

use behalf_local_cluster::cluster::Cluster;
use kube::Client;

/// Everything that an environment consists of, running.
pub struct Running {
    /// The cluster.
    pub cluster: Cluster,

    /// A client with an administrator's rights.
    pub client: Client,
}
