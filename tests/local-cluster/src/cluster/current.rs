//! The cluster that KUBECONFIG points to. Images go to the registry in REGISTRY, or straight into
//! the nodes when the cluster is a local one of this machine.

use std::path::PathBuf;

use serde_json::Value;

use super::ClusterError;
use super::local::{self, LocalCluster};
use crate::images::{self, Image};
use crate::toolchain::Clients;

/// The way of images to the current cluster.
#[derive(Debug, Clone)]
pub(crate) enum Images {
    /// Pushed to this registry, such as `registry.example/behalf`.
    Registry(String),

    /// Loaded into the nodes of our own local cluster.
    Local(LocalCluster),

    /// In no way that we know.
    Nowhere,
}

/// Finds the current cluster and checks that it answers.
pub(crate) fn up(clients: &Clients) -> Result<(PathBuf, Images), ClusterError> {
    let kubeconfig = kubeconfig();
    let kubectl = || clients.call_kubectl(&kubeconfig);
    kubectl()
        .args(["get", "--raw=/readyz", "--request-timeout=15s"])
        .run()?;
    let view = kubectl()
        .args(["config", "view", "--minify", "-o", "json"])
        .text()?;
    let images = match std::env::var("REGISTRY") {
        Ok(registry) if !registry.is_empty() => Images::Registry(registry),
        _ => own_cluster(&view)?.map_or(Images::Nowhere, Images::Local),
    };
    Ok((kubeconfig, images))
}

impl Images {
    pub(crate) fn load(&self, images: &[Image]) -> Result<(), ClusterError> {
        match self {
            Self::Registry(registry) => {
                images
                    .iter()
                    .try_for_each(|image| images::push(image, &image.reference_in(registry)))?;
                Ok(())
            }
            Self::Local(cluster) => cluster.load(images),
            Self::Nowhere => Err(ClusterError::NoRegistry),
        }
    }

    /// A registry needs a name for each image, which a bare archive may not have.
    pub(crate) fn load_archives(&self, archives: &[PathBuf]) -> Result<(), ClusterError> {
        match self {
            Self::Local(cluster) => cluster.load_archives(archives),
            Self::Nowhere => Err(ClusterError::NoRegistry),
            Self::Registry(_) => Err(ClusterError::Unsupported {
                kind: "current",
                what: "push bare archives to a registry",
            }),
        }
    }

    pub(crate) fn reference(&self, image: &Image) -> String {
        match self {
            Self::Registry(registry) => image.reference_in(registry),
            Self::Local(_) | Self::Nowhere => image.reference(),
        }
    }
}

fn kubeconfig() -> PathBuf {
    let listed = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    // kubectl merges all files of a list. It keeps the current context in the first one.
    listed
        .and_then(|list| std::env::split_paths(&list).next())
        .or_else(|| std::env::home_dir().map(|home| home.join(".kube/config")))
        .unwrap_or_default()
}

/// The local cluster of this machine that a kubeconfig belongs to.
fn own_cluster(view: &str) -> Result<Option<LocalCluster>, ClusterError> {
    let view: Value = serde_json::from_str(view).unwrap_or_default();
    let server = view["clusters"][0]["cluster"]["server"]
        .as_str()
        .unwrap_or_default();
    Ok(local::all()?
        .into_iter()
        .find(|cluster| cluster.server() == server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_images_by_their_registry() {
        let image = Image {
            name: "behalf-operator".into(),
            tag: "abc".into(),
            archive: PathBuf::new(),
        };
        let target = Images::Registry("registry.example/behalf".into());
        assert_eq!(
            target.reference(&image),
            "registry.example/behalf/behalf-operator:abc"
        );
        assert_eq!(
            Images::Nowhere.reference(&image),
            "behalf.local/behalf-operator:abc"
        );
    }

    #[test]
    fn refuses_to_load_nowhere() {
        assert!(matches!(Images::Nowhere.load(&[]), Err(ClusterError::NoRegistry)));
    }
}
