//! The programs that build images: Docker where its daemon answers, else buildah.

use std::path::Path;

use super::{Image, ImageError};
use crate::cluster::{Call, CommandError, prerequisites};

/// A program that builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// buildah, with a storage of its own that is thrown away after each image.
    Buildah,

    /// Docker.
    Docker,
}

impl Builder {
    /// Docker when it answers: then its user need not be root.
    pub fn choose() -> Self {
        if prerequisites::docker_answers() {
            Self::Docker
        } else {
            Self::Buildah
        }
    }

    /// Tells the two formats of archives apart.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Buildah => "oci",
            Self::Docker => "docker",
        }
    }

    /// Builds `work/context` by `work/Containerfile` on the base, into an archive.
    pub(super) fn build(
        self,
        work: &Path,
        base: Option<&str>,
        reference: &str,
        archive: &Path,
    ) -> Result<(), CommandError> {
        let base = base.map(|base| format!("BASE={base}"));
        let base = base.iter().flat_map(|base| ["--build-arg", base]);
        let (context, containerfile) = (work.join("context"), work.join("Containerfile"));
        match self {
            Self::Buildah => {
                // One layer, and no storage that outlives the build: vfs copies everything per layer.
                buildah(work)
                    .args(["build", "--isolation", "chroot", "--layers=false"])
                    .args(base)
                    .args(["-t", reference, "-f"])
                    .arg(containerfile)
                    .arg(context)
                    .run()?;
                let target = format!("oci-archive:{}:{reference}", archive.display());
                buildah(work).args(["push", reference, &target]).run()
            }
            Self::Docker => {
                Call::new("docker")
                    .arg("build")
                    .args(base)
                    .args(["-t", reference, "-f"])
                    .arg(containerfile)
                    .arg(context)
                    .run()?;
                Call::new("docker")
                    .args(["save", "-o"])
                    .arg(archive)
                    .arg(reference)
                    .run()
            }
        }
    }

    /// What the builder calls the base in an archive that it made itself.
    pub(super) fn archive_reference(self, image: &Image) -> Result<String, CommandError> {
        match self {
            Self::Buildah => Ok(format!("oci-archive:{}", image.archive.display())),
            Self::Docker => {
                let reference = image.reference();
                if !Call::new("docker")
                    .args(["image", "inspect", &reference])
                    .succeeds()
                {
                    Call::new("docker")
                        .args(["load", "-i"])
                        .arg(&image.archive)
                        .run()?;
                }
                Ok(reference)
            }
        }
    }
}

/// Pushes an archive to a registry under this reference.
pub fn push(image: &Image, reference: &str) -> Result<(), ImageError> {
    let failed = |source| ImageError::Push {
        reference: reference.to_owned(),
        source,
    };
    if image.archive.to_string_lossy().ends_with(".docker.tar") {
        Call::new("docker")
            .args(["load", "-i"])
            .arg(&image.archive)
            .run()
            .map_err(failed)?;
        Call::new("docker")
            .args(["tag", &image.reference(), reference])
            .run()
            .map_err(failed)?;
        return Call::new("docker")
            .args(["push", reference])
            .run()
            .map_err(failed);
    }
    let work = tempfile::tempdir().map_err(crate::cluster::files::FileError::at(
        "create",
        &std::env::temp_dir(),
    ))?;
    let archive = format!("oci-archive:{}", image.archive.display());
    let id = buildah(work.path())
        .args(["pull", "--quiet", &archive])
        .text()
        .map_err(failed)?;
    buildah(work.path())
        .args(["push", id.trim(), &format!("docker://{reference}")])
        .run()
        .map_err(failed)
}

fn buildah(work: &Path) -> Call {
    let call = Call::new("buildah").arg("--root").arg(work.join("storage"));
    call.arg("--runroot")
        .arg(work.join("run"))
        .args(["--storage-driver", "vfs"])
}
