//! Container images: each is a base and one binary that cargo built on this machine.
//!
//! An image is kept as an archive named by its content, so one that did not change costs nothing,
//! and one that changed has a new tag, which rolls it out.

mod assemble;
mod base;
mod builder;
mod daemon;
mod error;
mod foreign;
mod image;

use std::path::Path;

use self::assemble::{FORMAT, assemble, copy};
use self::base::Base;
use self::builder::Source;
pub use self::builder::{Builder, push};
pub use self::daemon::{nginx, redis, valkey};
pub use self::error::ImageError;
pub use self::foreign::{Foreign, foreign};
pub use self::image::Image;
use crate::files::{self, ContentName};
use crate::toolchain::Toolchain;
use crate::{Progress, prerequisites};

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
        Some(&base.source),
        progress,
        |context| copy(binary, &context.join(product.name())),
    )
}

/// An image with the content of another one and one more label, as a next release of it.
pub fn labelled(image: &Image, label: &str, progress: &Progress) -> Result<Image, ImageError> {
    let recipe = format!("ARG BASE\nFROM ${{BASE}}\nLABEL {label}\n");
    let base = Base {
        source: Source::Archive(image.clone()),
        identity: image.reference(),
    };
    let tag = ContentName::default()
        .text(FORMAT)
        .text(&recipe)
        .text(&base.identity)
        .finish();
    let builder = Builder::choose();
    assemble(
        builder,
        &image.name,
        &tag,
        &recipe,
        Some(&base.source),
        progress,
        |_| Ok(()),
    )
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
        Some(&base.source),
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
    assemble(
        builder,
        name,
        &tag,
        &recipe,
        base.as_ref().map(|base| &base.source),
        progress,
        |context| {
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
        },
    )
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
}
