//! The programs that build images: Docker where its daemon answers, else buildah.

use std::path::{Path, PathBuf};

use super::error::ImageError;
use super::image::Image;
use crate::files::{self, FileError, Lock};
use crate::{Call, CommandError, prerequisites};

/// A program that builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// buildah, with a storage of its own that is thrown away after each image.
    Buildah,

    /// Docker.
    Docker,
}

/// The place where a builder finds a base.
#[derive(Debug)]
pub(super) enum Source {
    /// Under this name, in a registry.
    Named(String),

    /// In an archive that was built here.
    Archive(Image),
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

    /// Builds `work/context` by `work/Containerfile` on the base, into an archive. Nothing else remains.
    pub(super) fn build(
        self,
        work: &Path,
        base: Option<&Source>,
        reference: &str,
        archive: &Path,
    ) -> Result<(), CommandError> {
        match self {
            Self::Buildah => {
                let base = base.map(|base| match base {
                    Source::Named(name) => name.clone(),
                    Source::Archive(image) => format!("oci-archive:{}", image.archive.display()),
                });
                // The storage driver vfs copies everything for each layer, so the build makes one layer.
                let build = buildah(work).args(["build", "--isolation", "chroot", "--layers=false"]);
                recipe(build, work, base.as_deref(), reference).run()?;
                let target = format!("oci-archive:{}:{reference}", archive.display());
                buildah(work).args(["push", reference, &target]).run()
            }
            Self::Docker => {
                // Docker keeps an image until it is removed.
                let (base, _base) = match base {
                    None => (None, None),
                    Some(Source::Named(name)) => (Some(name.clone()), None),
                    Some(Source::Archive(image)) => {
                        let loaded = InDocker::load(image)?;
                        (Some(image.reference()), Some(loaded))
                    }
                };
                let _built = InDocker(reference.to_owned());
                recipe(docker("build"), work, base.as_deref(), reference).run()?;
                docker("save").arg("-o").arg(archive).arg(reference).run()
            }
        }
    }
}

/// Arguments that both builders need for an image.
fn recipe(build: Call, work: &Path, base: Option<&str>, reference: &str) -> Call {
    let base = base.map(|base| format!("BASE={base}"));
    build
        .args(base.iter().flat_map(|base| ["--build-arg", base]))
        .args(["-t", reference, "-f"])
        .arg(work.join("Containerfile"))
        .arg(work.join("context"))
}

/// An image that is in Docker's storage for as long as this value lives.
struct InDocker(String);

impl InDocker {
    fn load(image: &Image) -> Result<Self, CommandError> {
        docker("load").arg("-i").arg(&image.archive).run()?;
        Ok(Self(image.reference()))
    }
}

impl Drop for InDocker {
    fn drop(&mut self) {
        let Self(reference) = self;
        // After a failed build there is no image.
        let there = docker("image").args(["inspect", reference.as_str()]).succeeds();
        if there && !docker("rmi").arg(reference.as_str()).succeeds() {
            tracing::warn!("Unable to remove image {reference} from Docker: use `docker rmi {reference}`");
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
        let _lock = lock()?;
        let push = || {
            let _loaded = InDocker::load(image)?;
            docker("tag")
                .args([image.reference().as_str(), reference])
                .run()?;
            let _tagged = InDocker(reference.to_owned());
            docker("push").arg(reference).run()
        };
        return push().map_err(failed);
    }
    let work = tempfile::tempdir().map_err(FileError::at("create", &std::env::temp_dir()))?;
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

/// Locks out other processes that load the same images into Docker's storage and remove them.
pub(super) fn lock() -> Result<Lock, FileError> {
    files::lock(&home().join("docker.lock"))
}

/// The folder of the archives of all images.
pub(super) fn home() -> PathBuf {
    files::cache().join("images")
}

fn docker(command: &str) -> Call {
    Call::new("docker").arg(command)
}

fn buildah(work: &Path) -> Call {
    let call = Call::new("buildah").arg("--root").arg(work.join("storage"));
    call.arg("--runroot")
        .arg(work.join("run"))
        .args(["--storage-driver", "vfs"])
}
