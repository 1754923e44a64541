//! A kind cluster, for machines with Docker.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::command::Call;
use super::files;
use super::{ClusterError, Progress};

/// Creates the cluster unless it is there, and returns its kubeconfig.
pub(crate) fn up(name: &str, nodes: u8, progress: &Progress) -> Result<PathBuf, ClusterError> {
    let kubeconfig = files::cache().join("kind").join(format!("{name}.kubeconfig"));
    if exists(name)? {
        let text = Call::new("kind")
            .args(["get", "kubeconfig", "--name", name])
            .text()?;
        files::write(&kubeconfig, text)?;
        return Ok(kubeconfig);
    }
    files::write(&kubeconfig, "")?;
    progress.step("create the kind cluster", || {
        Call::new("kind")
            .args([
                "create",
                "cluster",
                "--name",
                name,
                "--wait",
                "180s",
                "--config",
                "-",
                "--kubeconfig",
            ])
            .arg(&kubeconfig)
            .input(configuration(nodes))
            .run()
    })?;
    Ok(kubeconfig)
}

pub(crate) fn exists(name: &str) -> Result<bool, ClusterError> {
    let clusters = Call::new("kind").args(["get", "clusters"]).text()?;
    Ok(clusters.lines().any(|line| line == name))
}

/// Deletes the cluster; that there is none is fine.
pub(crate) fn down(name: &str) -> Result<(), ClusterError> {
    let kubeconfig = files::cache().join("kind").join(format!("{name}.kubeconfig"));
    Call::new("kind")
        .args(["delete", "cluster", "--name", name, "--kubeconfig"])
        .arg(&kubeconfig)
        .run()?;
    // kind empties the file; the file itself is ours.
    drop(std::fs::remove_file(&kubeconfig));
    Ok(())
}

/// Loads image archives into every node.
pub(crate) fn load<'a>(name: &str, archives: impl Iterator<Item = &'a Path>) -> Result<(), ClusterError> {
    for archive in archives {
        Call::new("kind")
            .args(["load", "image-archive", "--name", name])
            .arg(archive)
            .run()?;
    }
    Ok(())
}

fn configuration(nodes: u8) -> String {
    let nodes: Vec<_> = (0..nodes)
        .map(|node| json!({"role": if node == 0 { "control-plane" } else { "worker" }}))
        .collect();
    json!({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_node_is_a_control_plane() {
        let configuration: serde_json::Value = serde_json::from_str(&configuration(3)).unwrap();
        let roles: Vec<_> = configuration["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| &node["role"])
            .collect();
        assert_eq!(roles, ["control-plane", "worker", "worker"]);
    }
}
