//! Pushes the images of an installation to a registry.

use super::{DemoError, Progress, build_images};
use crate::environment::image_values;
use behalf_local_cluster::images::{self, Image, Product};

/// Builds the images of an installation and pushes them to a registry; returns the command that installs them.
pub fn publish(registry: &str, progress: &Progress) -> Result<String, DemoError> {
    progress.line("images");
    let built = build_images(progress)?;
    let mut values = Vec::new();
    for (product, value) in [
        (Product::Operator, "image"),
        (Product::AuthSidecar, "images.sidecar"),
        (Product::McpServer, "images.mcpServer"),
    ] {
        let of_product = |image: &&Image| image.name == product.name();
        for image in built.iter().filter(of_product) {
            let reference = image.reference_in(registry);
            progress
                .steps()
                .step(&format!("push {reference}"), || images::push(image, &reference))?;
            values.extend(image_values(value, &reference));
        }
    }
    Ok(command(&values))
}

fn command(values: &[String]) -> String {
    let set: Vec<_> = values
        .iter()
        .map(|value| format!("  --set-string {value}"))
        .collect();
    format!(
        "helm upgrade --install behalf charts/behalf --namespace behalf-system \\\n{}",
        set.join(" \\\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_registry_repository_and_tag() {
        assert_eq!(
            command(&image_values("image", "localhost:5000/you/behalf-operator:0a1b")),
            "helm upgrade --install behalf charts/behalf --namespace behalf-system \\\n  \
             --set-string image.registry=localhost:5000 \\\n  \
             --set-string image.repository=you/behalf-operator \\\n  \
             --set-string image.tag=0a1b"
        );
    }
}
