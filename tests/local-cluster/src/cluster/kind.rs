//! A kind cluster, for machines with Docker.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::ClusterError;
use crate::Progress;
use crate::command::Call;
use crate::files::{self, FileError};
use crate::prerequisites::{self, KIND_VERSION, PrerequisiteError};

/// Creates the cluster unless it is there, and returns its kubeconfig.
pub(crate) fn up(name: &str, nodes: u8, progress: &Progress) -> Result<PathBuf, ClusterError> {
    if !prerequisites::docker_answers() {
        return Err(PrerequisiteError::Docker.into());
    }
    let program = ensure(progress)?;
    let kubeconfig = kubeconfig(name);
    if exists(name)? {
        let text = Call::new(program)
            .args(["get", "kubeconfig", "--name", name])
            .text()?;
        files::write(&kubeconfig, text)?;
        return Ok(kubeconfig);
    }
    files::write(&kubeconfig, "")?;
    progress.step("create the kind cluster", || {
        Call::new(program)
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
    let Some(program) = find() else { return Ok(false) };
    let clusters = Call::new(program).args(["get", "clusters"]).text()?;
    Ok(clusters.lines().any(|line| line == name))
}

/// Deletes the cluster; that there is none is fine.
pub(crate) fn down(name: &str) -> Result<(), ClusterError> {
    let kubeconfig = kubeconfig(name);
    let Some(program) = find() else {
        // The kubeconfig exists, so kind was there when the cluster was created.
        return if kubeconfig.exists() {
            Err(PrerequisiteError::Kind(None).into())
        } else {
            Ok(())
        };
    };
    Call::new(program)
        .args(["delete", "cluster", "--name", name, "--kubeconfig"])
        .arg(&kubeconfig)
        .run()?;
    // kind removes its entries from the file. We remove the file, and its folder if it is empty.
    drop(std::fs::remove_file(&kubeconfig));
    drop(kubeconfig.parent().map(std::fs::remove_dir));
    Ok(())
}

fn kubeconfig(name: &str) -> PathBuf {
    files::cache().join("kind").join(format!("{name}.kubeconfig"))
}

/// The installed kind, else the one that was built here.
fn find() -> Option<PathBuf> {
    prerequisites::find("kind").or_else(|| Some(built()).filter(|program| program.is_file()))
}

fn built() -> PathBuf {
    files::cache().join("tools").join(format!("kind-{KIND_VERSION}"))
}

/// Returns kind, and builds it when it is not installed: Debian has no package of it.
fn ensure(progress: &Progress) -> Result<PathBuf, ClusterError> {
    if let Some(program) = find() {
        return Ok(program);
    }
    prerequisites::ensure_go()?;
    let program = built();
    let tools = files::cache().join("tools");
    files::create_directory(&tools)?;
    let folder = tempfile::Builder::new().prefix(".build-").tempdir_in(&tools);
    let folder = folder.map_err(FileError::at("create a folder in", &tools))?;
    let name = format!("build kind {KIND_VERSION}, which is not installed");
    progress
        .step(&name, || {
            Call::new("go")
                .args(["install", &format!("sigs.k8s.io/kind@{KIND_VERSION}")])
                .directory(folder.path())
                .env("GOBIN", folder.path())
                .run()
        })
        .map_err(|source| PrerequisiteError::Kind(Some(source)))?;
    let fresh = folder.path().join("kind");
    std::fs::rename(&fresh, &program).map_err(FileError::at("create", &program))?;
    Ok(program)
}

/// Loads image archives into every node.
pub(crate) fn load<'a>(name: &str, archives: impl Iterator<Item = &'a Path>) -> Result<(), ClusterError> {
    let program = find().ok_or(PrerequisiteError::Kind(None))?;
    for archive in archives {
        Call::new(&program)
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
