//! Removes an environment from a cluster that stays.

use super::{EnvironmentError, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, NAMESPACE_SIMULATORS};
use behalf_local_cluster::cluster::Cluster;

/// Takes everything away again from a cluster that stays: objects first, so that the operator still sees
/// them go, then charts, the kept CRD with its policy, namespaces.
pub fn remove(cluster: &Cluster) -> Result<(), EnvironmentError> {
    cluster
        .kubectl(&[
            "delete",
            "namespace",
            NAMESPACE_SERVERS,
            "--ignore-not-found",
            "--wait",
        ])
        .map_err(EnvironmentError::cluster("remove the servers"))?;
    for release in ["behalf", "behalf-crds"] {
        cluster
            .helm(&[
                "uninstall",
                release,
                "--namespace",
                NAMESPACE_OPERATOR,
                "--ignore-not-found",
                "--wait",
            ])
            .map_err(EnvironmentError::cluster("uninstall the charts"))?;
    }
    cluster
        .kubectl(&[
            "delete",
            "crd",
            "mcpservers.behalf.dev",
            "--ignore-not-found",
            "--wait",
        ])
        .map_err(EnvironmentError::cluster("remove the CRD"))?;
    cluster
        .kubectl(&[
            "delete",
            "validatingadmissionpolicybinding,validatingadmissionpolicy",
            "behalf-crd-downgrades",
            "--ignore-not-found",
        ])
        .map_err(EnvironmentError::cluster("remove the policy of the CRD"))?;
    cluster
        .kubectl(&[
            "delete",
            "namespace",
            NAMESPACE_OPERATOR,
            NAMESPACE_SIMULATORS,
            "--ignore-not-found",
            "--wait",
        ])
        .map_err(EnvironmentError::cluster("remove the namespaces"))?;
    Ok(())
}
