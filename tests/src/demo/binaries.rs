use std::path::PathBuf;
use std::process::Command;

use super::DemoError;
use crate::cluster::Progress;
use crate::cluster::files::checkout;
use crate::images::{self, Image, Product};

/// Builds every binary with one cargo command, and an image of each. What did not change costs nothing.
pub fn build_images() -> Result<Vec<Image>, DemoError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--profile", "image", "--workspace", "--locked"])
        .args(Product::ALL.iter().flat_map(|product| ["--bin", product.name()]))
        .current_dir(checkout())
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return Err(DemoError::Build);
    }
    let folder = target().join("image");
    let mut all = Vec::new();
    for product in Product::ALL {
        all.push(images::build(
            product,
            &folder.join(product.name()),
            &Progress::default(),
        )?);
    }
    Ok(all)
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from)
}
