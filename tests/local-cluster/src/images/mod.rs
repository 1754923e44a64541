//! Container images: each is a base and one binary that cargo built on this machine.
//!
//! An image is kept as an archive named by its content, so one that did not change costs nothing,
//! and one that changed has a new tag, which rolls it out.

mod base;
mod builder;
mod daemon;
mod foreign;

use std::fs;
use std::path::{Path, PathBuf};

use self::base::Base;
pub use self::builder::{Builder, push};
pub use self::daemon::{nginx, redis, valkey};
pub use self::foreign::{Foreign, foreign};
use crate::files::{self, ContentName, FileError};
use crate::prerequisites::{self, PrerequisiteError};
use crate::toolchain::Toolchain;
use crate::{CommandError, Progress};

/// Raised when the way of building changes, so that no archive of the old way is taken.
const FORMAT: &str = "1";

/// Number of archives of each image that are kept.
const KEPT: usize = 3;

/// An image could not be built or pushed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Something needed is not installed.
    #[error(transparent)]
    Prerequisite(#[from] PrerequisiteError),

    /// The builder refused.
    #[error("failed to build image {name}")]
    Build {
        /// The image's name.
        name: String,

        /// The output of the builder.
        source: CommandError,
    },

    /// The registry or the network refused.
    #[error("failed to push image {reference}: check REGISTRY and the login to it")]
    Push {
        /// The target of the push.
        reference: String,

        /// The output of the builder.
        source: CommandError,
    },

    /// The base could not be put together.
    #[error(
        "failed to make a base image from Debian packages: set BASE to an image with glibc, libgcc and CA certificates"
    )]
    Base(#[source] CommandError),

    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// An image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name without registry.
    pub name: String,

    /// A hash of its content.
    pub tag: String,

    /// The archive, in OCI's format or Docker's.
    pub archive: PathBuf,
}

impl Image {
    /// The name under which the archive is loaded.
    pub fn reference(&self) -> String {
        self.reference_in("behalf.local")
    }

    /// Its name in a registry, such as `registry.example/you`.
    pub fn reference_in(&self, registry: &str) -> String {
        format!("{}/{}:{}", registry.trim_end_matches('/'), self.name, self.tag)
    }
}

/// The images that this project consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// The operator.
    Operator,

    /// The auth sidecar.
    AuthSidecar,

    /// The MCP server for Azure DevOps.
    McpServer,

    /// Entra and Azure DevOps for tests and demos.
    Simulator,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Operator,
        Self::AuthSidecar,
        Self::McpServer,
        Self::Simulator,
    ];

    /// The name of the image, which is the name of its binary too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "behalf-operator",
            Self::AuthSidecar => "behalf-auth-sidecar",
            Self::McpServer => "behalf-mcp-server",
            Self::Simulator => "behalf-simulator",
        }
    }

    /// Path of its Containerfile from the root of the checkout.
    pub fn containerfile(self) -> &'static str {
        match self {
            Self::Operator => "operator/Containerfile",
            Self::AuthSidecar => "auth-sidecar/Containerfile",
            Self::McpServer => "mcp-server/Containerfile",
            Self::Simulator => "tests/simulators/Containerfile",
        }
    }
}

/// Builds the image of a product around the binary at `binary`.
pub fn build(product: Product, binary: &Path, progress: &Progress) -> Result<Image, ImageError> {
    let builder = Builder::choose();
    let base = Base::choose(builder, progress)?;
    let recipe = files::read(&files::checkout().join(product.containerfile()))?;
    let tag = ContentName::default()
        .text(FORMAT)
        .text(&recipe)
        .text(&base.identity)
        .file(binary)?
        .finish();
    assemble(
        builder,
        product.name(),
        &tag,
        &recipe,
        Some(&base),
        progress,
        |context| copy(binary, &context.join(product.name())),
    )
}

/// An image with the content of another one and one more label, as a next release of it.
pub fn labelled(image: &Image, label: &str, progress: &Progress) -> Result<Image, ImageError> {
    let recipe = format!("ARG BASE\nFROM ${{BASE}}\nLABEL {label}\n");
    let base = Base {
        source: base::Source::Archive(image.clone()),
        identity: image.reference(),
    };
    let tag = ContentName::default()
        .text(FORMAT)
        .text(&recipe)
        .text(&base.identity)
        .finish();
    let builder = Builder::choose();
    assemble(builder, &image.name, &tag, &recipe, Some(&base), progress, |_| {
        Ok(())
    })
}

/// The image whose process holds each Pod's namespaces.
pub(crate) fn pause(tools: &Toolchain, progress: &Progress) -> Result<Image, ImageError> {
    const RECIPE: &str = "FROM scratch\nCOPY pause /pause\nUSER 65532:65532\nENTRYPOINT [\"/pause\"]\n";
    prerequisites::ensure_images(progress)?;
    let tag = ContentName::default()
        .text(FORMAT)
        .text(RECIPE)
        .file(&tools.pause())?
        .finish();
    assemble(
        Builder::Buildah,
        "pause",
        &tag,
        RECIPE,
        None,
        progress,
        |context| copy(&tools.pause(), &context.join("pause")),
    )
}

/// A shell with the usual small tools, for Pods of tests.
pub fn debug(progress: &Progress) -> Result<Image, ImageError> {
    busybox("debug", "CMD [\"sh\"]\n", &[], progress)
}

/// A web server that passes the kubelet's probes on one port, and knows no MCP on the other, of loopback.
pub fn web_server(mcp: u16, probes: u16, progress: &Progress) -> Result<Image, ImageError> {
    // The kernel ignores a SIGTERM that the first process of a container does not handle. The kubelet would wait
    // for the Pod's whole grace period.
    let serve =
        format!("trap 'exit 0' TERM; httpd -p 127.0.0.1:{mcp} -h /www; httpd -f -p {probes} -h /www & wait");
    let start = format!("ENTRYPOINT [\"sh\", \"-c\", \"{serve}\"]\n");
    let pages = ["www/startupz", "www/readyz", "www/livez"];
    busybox("web-server", &start, &pages, progress)
}

/// The image of the server for the conformance suite, which replaces the built-in server. It serves MCP on a
/// loopback port and the kubelet's probes on another port. `simulator` is the binary of
/// [`Product::Simulator`].
pub fn fixture_server(
    simulator: &Path,
    mcp: u16,
    probes: u16,
    progress: &Progress,
) -> Result<Image, ImageError> {
    let name = Product::Simulator.name();
    let start = [
        format!("/usr/local/bin/{name}"),
        "fixture-server".to_owned(),
        format!("--listen=127.0.0.1:{mcp}"),
        format!("--probes-listen=0.0.0.0:{probes}"),
    ];
    let start = start.map(|word| format!("\"{word}\"")).join(", ");
    let recipe = format!(
        "ARG BASE\nFROM ${{BASE}}\nCOPY {name} /usr/local/bin/{name}\nUSER 65532:65532\nENTRYPOINT [{start}]\n"
    );
    let builder = Builder::choose();
    let base = Base::choose(builder, progress)?;
    let tag = ContentName::default()
        .text(FORMAT)
        .text(&recipe)
        .text(&base.identity)
        .file(simulator)?
        .finish();
    let prepare = |context: &Path| copy(simulator, &context.join(name));
    assemble(
        builder,
        "fixture-server",
        &tag,
        &recipe,
        Some(&base),
        progress,
        prepare,
    )
}

/// An image with `busybox`, and with files that say `ok`.
///
/// Its `busybox` shares the C library of the base: a static one cannot look up names.
fn busybox(name: &str, start: &str, pages: &[&str], progress: &Progress) -> Result<Image, ImageError> {
    let builder = Builder::choose();
    let base = if base::has_packages() {
        Some(Base::from_packages(builder, progress)?)
    } else {
        None
    };
    let from = match base {
        Some(_) => "ARG BASE\nFROM ${BASE}\nENV PATH=/usr/local/bin\n",
        None => "FROM docker.io/library/busybox:stable-glibc\n",
    };
    let recipe = format!("{from}COPY root /\nUSER 65532:65532\n{start}");
    let tag = ContentName::default()
        .text(FORMAT)
        .text(&recipe)
        .text(&pages.join(" "))
        .text(base.as_ref().map_or("", |base| &base.identity))
        .finish();
    assemble(builder, name, &tag, &recipe, base.as_ref(), progress, |context| {
        let root = context.join("root");
        files::create_directory(&root)?;
        for page in pages {
            let path = root.join(page);
            files::write(&path, "ok\n")?;
            base::permit(&path, 0o644)?;
        }
        match base {
            Some(_) => base::busybox(context, &root.join("usr/local/bin")),
            None => Ok(()),
        }
    })
}

/// Returns the archive of an image, and builds it from a prepared context if there is none yet.
fn assemble(
    builder: Builder,
    name: &str,
    tag: &str,
    recipe: &str,
    base: Option<&Base>,
    progress: &Progress,
    prepare: impl FnOnce(&Path) -> Result<(), ImageError>,
) -> Result<Image, ImageError> {
    let home = home().join(name);
    let archive = home.join(format!("{tag}.{}.tar", builder.suffix()));
    let image = Image {
        name: name.to_owned(),
        tag: tag.to_owned(),
        archive,
    };
    if image.archive.exists() {
        files::touch(&image.archive);
        return Ok(image);
    }
    progress.step(&format!("build image {name}"), || {
        let _lock = match builder {
            Builder::Buildah => None,
            Builder::Docker => Some(builder::lock()?),
        };
        files::create_directory(&home)?;
        let work = tempfile::Builder::new().prefix(".build-").tempdir_in(&home);
        let work = work.map_err(FileError::at("create a folder in", &home))?;
        let context = work.path().join("context");
        files::create_directory(&context)?;
        prepare(&context)?;
        let containerfile = work.path().join("Containerfile");
        files::write(&containerfile, recipe)?;
        let finished = work.path().join("image.tar");
        let source = base.map(|base| &base.source);
        builder
            .build(work.path(), source, &image.reference(), &finished)
            .map_err(|source| ImageError::Build {
                name: name.to_owned(),
                source,
            })?;
        fs::rename(&finished, &image.archive).map_err(FileError::at("create", &image.archive))?;
        Ok::<_, ImageError>(())
    })?;
    trim(&home);
    Ok(image)
}

fn home() -> PathBuf {
    files::cache().join("images")
}

/// Removes all but the newest archives of one image.
fn trim(home: &Path) {
    let archives = files::newest_first(home)
        .into_iter()
        .filter(|path| path.is_file());
    for old in archives.skip(KEPT) {
        // Another process may have removed the file already.
        drop(fs::remove_file(old));
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), ImageError> {
    fs::copy(from, to).map_err(FileError::at("copy", from))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_has_a_containerfile_of_the_same_shape() {
        for product in Product::ALL {
            let text = files::read(&files::checkout().join(product.containerfile())).unwrap();
            let name = product.name();
            assert!(text.contains("\nUSER 65532:65532\n"), "{name}");
            assert!(
                text.contains(&format!("ENTRYPOINT [\"/usr/local/bin/{name}\"]")),
                "{name}"
            );
            assert!(
                text.starts_with('#') && text.contains("\nARG BASE=gcr.io/distroless/cc-debian12:nonroot\n"),
                "{name}"
            );
        }
    }

    #[test]
    fn keeps_the_newest_archives_and_all_folders() {
        let home = tempfile::tempdir().unwrap();
        for number in 0..5 {
            let file = fs::File::create(home.path().join(format!("{number}.tar"))).unwrap();
            let age = std::time::Duration::from_secs(1000 + number);
            file.set_modified(std::time::UNIX_EPOCH + age).unwrap();
        }
        fs::create_dir(home.path().join(".build-1")).unwrap();
        trim(home.path());
        let mut left: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".build-1", "2.tar", "3.tar", "4.tar"]);
    }
}
