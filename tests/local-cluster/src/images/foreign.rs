//! Images of programs that are not part of this project: packages of Debian, and folders that npm or pip filled.

use std::path::PathBuf;

use super::base::{self, Base};
use super::{Builder, FORMAT, Image, ImageError, assemble};
use crate::files::{self, ContentName};
use crate::{Call, Progress};

/// A program that is not part of this project.
#[derive(Debug, Clone)]
pub struct Foreign<'a> {
    /// The image's name.
    pub name: &'a str,

    /// The packages of Debian with the interpreter, or with the libraries that the program needs. The image also gets what
    /// they depend on.
    pub packages: &'a [&'a str],

    /// Folders and files of this machine, and their places in the image.
    pub content: Vec<(PathBuf, &'a str)>,

    /// A file that differs where the content differs, for example the list of pinned versions.
    pub identity: PathBuf,

    /// Environment variables, as `NAME=value`.
    pub environment: &'a [&'a str],

    /// The program and its arguments.
    pub entry_point: &'a [&'a str],
}

/// Builds an image of the program. It needs Debian packages.
pub fn foreign(program: &Foreign<'_>, progress: &Progress) -> Result<Image, ImageError> {
    let builder = Builder::choose();
    let base = Base::from_packages(builder, progress)?;
    let recipe = recipe(program);
    let mut tag = ContentName::default()
        .text(FORMAT)
        .text(&recipe)
        .text(&base.identity)
        .file(&program.identity)?;
    for package in program.packages {
        tag = tag.text(&base::candidate(package).map_err(ImageError::Base)?);
    }
    let tag = tag.finish();
    assemble(
        builder,
        program.name,
        &tag,
        &recipe,
        Some(&base.source),
        progress,
        |context| {
            let root = context.join("root");
            let tree = base::dependencies(program.packages).map_err(ImageError::Base)?;
            base::unpack(&packages(&tree), &context.with_file_name("packages"), &root)?;
            base::drop_documents(&root)?;
            for (from, to) in &program.content {
                let to = root.join(to.trim_start_matches('/'));
                if let Some(parent) = to.parent() {
                    files::create_directory(parent)?;
                }
                // Unlike a copy by this program it keeps links and permissions.
                let copy = Call::new("cp").arg("--archive").arg(from).arg(&to);
                copy.run().map_err(|source| ImageError::Build {
                    name: program.name.to_owned(),
                    source,
                })?;
            }
            Ok(())
        },
    )
}

fn recipe(program: &Foreign<'_>) -> String {
    let quoted = program.entry_point.iter().map(|word| format!("\"{word}\""));
    let entry_point = quoted.collect::<Vec<_>>().join(", ");
    let environment = program.environment.join(" ");
    format!(
        "ARG BASE\nFROM ${{BASE}}\nENV {environment}\nCOPY root /\nUSER 65533:65533\nENTRYPOINT [{entry_point}]\n"
    )
}

/// Libraries and Python of the tree. Everything else of it only configures a whole system.
fn packages(tree: &str) -> Vec<&str> {
    let wanted = |line: &&str| {
        let is_wanted = ["lib", "zlib", "python3"]
            .iter()
            .any(|start| line.starts_with(start));
        is_wanted && !base::IN_BASE.contains(line)
    };
    let mut packages: Vec<&str> = tree.lines().filter(wanted).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_libraries_and_python_and_nothing_that_configures_a_system() {
        let tree = "python3\n  Depends: python3.11\npython3.11\nlibexpat1\nlibc6\nzlib1g\ndebconf\nmedia-types\nlibexpat1\n<x>\n";
        assert_eq!(packages(tree), ["libexpat1", "python3", "python3.11", "zlib1g"]);
    }

    #[test]
    fn the_image_starts_the_program_as_the_servers_user() {
        let program = Foreign {
            name: "server",
            packages: &["python3"],
            content: Vec::new(),
            identity: PathBuf::new(),
            environment: &["HOME=/tmp", "PORT=3000"],
            entry_point: &["/usr/bin/python3", "/opt/server.py"],
        };
        assert_eq!(
            recipe(&program),
            "ARG BASE\nFROM ${BASE}\nENV HOME=/tmp PORT=3000\nCOPY root /\nUSER 65533:65533\n\
             ENTRYPOINT [\"/usr/bin/python3\", \"/opt/server.py\"]\n"
        );
    }
}
