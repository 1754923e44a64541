//! The note of the cluster on which the demo runs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DemoError;
use behalf_local_cluster::cluster::{Cluster, Kind};

/// Which cluster a demo runs on; kept in its folder until it is taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// As users write it.
    kind: String,

    /// The uid of the namespace `kube-system`: no two clusters share it. Empty until the cluster is there.
    identity: String,
}

impl Place {
    /// The place of a cluster that the demo will create.
    pub(super) fn planned(kind: Kind) -> Self {
        Self {
            kind: kind.name().to_owned(),
            identity: String::new(),
        }
    }

    /// The place of this cluster.
    pub(super) fn of(cluster: &Cluster) -> Result<Self, DemoError> {
        let uid = [
            "get",
            "namespace",
            "kube-system",
            "--output",
            "jsonpath={.metadata.uid}",
        ];
        Ok(Self {
            kind: cluster.kind().name().to_owned(),
            identity: cluster.kubectl(&uid)?.trim().to_owned(),
        })
    }

    /// The kind of cluster, as users write it.
    pub(super) fn name(&self) -> &str {
        &self.kind
    }

    /// The kind of cluster.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.kind.parse().ok()
    }

    /// Reads the note that the running demo left in its folder. `None` if none runs.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(folder)).ok()?).ok()
    }

    /// Leaves a note for `make demo-down`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), DemoError> {
        let path = file(folder);
        let text = serde_json::to_vec(self).unwrap_or_default();
        fs::write(&path, text).map_err(|source| DemoError::File {
            action: "write",
            path,
            source,
        })
    }

    /// Forgets the note; that there is none is fine.
    pub(super) fn forget(folder: &Path) -> Result<(), DemoError> {
        match fs::remove_dir_all(folder) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(DemoError::File {
                action: "remove",
                path: folder.to_owned(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the note describes this cluster.
    pub(super) fn is(&self, cluster: &Cluster) -> bool {
        self.kind() == Some(cluster.kind())
            && (cluster.kind() != Kind::Current || Self::of(cluster).is_ok_and(|here| self.admits(&here)))
    }

    /// A demo has one place: a second one elsewhere would take the ports of the first, and nothing would
    /// remove the first any more. A cluster of ours that was replaced is the same place.
    pub(super) fn admits(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.kind() != Some(Kind::Current) || self.identity == other.identity)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("place.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Kind, identity: &str) -> Place {
        Place {
            kind: kind.name().to_owned(),
            identity: identity.to_owned(),
        }
    }

    #[test]
    fn a_note_is_read_back_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("demo");
        assert_eq!(Place::read(&folder), None);
        fs::create_dir(&folder).unwrap();
        place(Kind::Current, "a").write(&folder).unwrap();
        assert_eq!(Place::read(&folder), Some(place(Kind::Current, "a")));
        Place::forget(&folder).unwrap();
        Place::forget(&folder).unwrap();
        assert_eq!(Place::read(&folder), None);
    }

    #[test]
    fn a_foreign_cluster_is_recognized_by_its_identity() {
        let here = place(Kind::Current, "a");
        assert!(here.admits(&here));
        assert!(!here.admits(&place(Kind::Current, "b")));
        assert!(!here.admits(&place(Kind::Local, "a")));
    }

    #[test]
    fn a_replaced_cluster_of_ours_is_the_same_place() {
        assert!(place(Kind::Local, "a").admits(&place(Kind::Local, "b")));
        assert!(Place::planned(Kind::Kind).admits(&place(Kind::Kind, "a")));
    }
}
