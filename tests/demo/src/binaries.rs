//! Builds the binaries of the products, and their images.

use std::path::PathBuf;
use std::process::Command;

use super::{DemoError, Progress};
use behalf_local_cluster::files::checkout;
use behalf_local_cluster::images::{self, Image, Product};

/// Builds all binaries with one cargo command, and an image of each. Unchanged binaries and images are reused.
pub fn build_images(progress: &Progress) -> Result<Vec<Image>, DemoError> {
    progress.line("  cargo build, in the profile of images");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--profile", "image", "--workspace", "--locked"])
        .args(Product::ALL.iter().flat_map(|product| ["--bin", product.name()]))
        .current_dir(checkout())
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return Err(DemoError::Build);
    }
    let steps = progress.steps();
    let image = |product: Product| images::build(product, &binary(product), &steps);
    Ok(Product::ALL.into_iter().map(image).collect::<Result<_, _>>()?)
}

/// The binary that [`build_images`] built for a product.
pub fn binary(product: Product) -> PathBuf {
    target().join("image").join(product.name())
}

/// Cargo's target folder.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from)
}
