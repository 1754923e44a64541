//! The image of Redis: Debian's `redis-server` on the base, or the public image where there are no Debian packages.

use std::fs;
use std::path::{Path, PathBuf};

use super::base::{self, Base};
use super::{Builder, FORMAT, Image, ImageError, assemble, copy};
use crate::Progress;
use crate::files::{self, ContentName};

/// The package of the programs. `redis-server` is another name of one of them.
const PACKAGE: &str = "redis-tools";

/// Libraries are in a folder of their own, so that they never replace those of the base.
const RECIPE: &str = "ARG BASE\nFROM ${BASE}\nENV LD_LIBRARY_PATH=/usr/local/lib PATH=/usr/local/bin\nCOPY root /\n\
                      USER 65532:65532\nENTRYPOINT [\"/usr/local/bin/redis-server\"]\n";

/// Redis' own image, for machines without Debian packages.
const PUBLIC: &str =
    "FROM docker.io/library/redis:7.0\nUSER 65532:65532\nENTRYPOINT [\"/usr/local/bin/redis-server\"]\n";

/// Builds an image with `redis-server` and `redis-cli`.
pub fn redis(progress: &Progress) -> Result<Image, ImageError> {
    let builder = Builder::choose();
    if !base::has_packages() {
        let tag = ContentName::default().text(FORMAT).text(PUBLIC).finish();
        return assemble(builder, "redis", &tag, PUBLIC, None, progress, |_| Ok(()));
    }
    let base = Base::from_packages(builder, progress)?;
    let version = base::candidate(PACKAGE).map_err(ImageError::Base)?;
    let tag = ContentName::default()
        .text(FORMAT)
        .text(RECIPE)
        .text(&base.identity)
        .text(&version)
        .finish();
    assemble(builder, "redis", &tag, RECIPE, Some(&base), progress, |context| {
        let unpacked = context.with_file_name("unpacked");
        let packages = libraries(&base::dependencies(&[PACKAGE]).map_err(ImageError::Base)?);
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        base::unpack(&packages, &context.with_file_name("packages"), &unpacked)?;
        arrange(&unpacked, &context.join("root/usr/local"))
    })
}

/// The package and every library that it needs. The names of the libraries differ between Debian's releases.
fn libraries(tree: &str) -> Vec<String> {
    // Each package stands at the start of a line. Its dependencies are indented.
    let names = tree
        .lines()
        .filter(|line| line.starts_with("lib") && !base::IN_BASE.contains(line));
    let mut names: Vec<String> = [PACKAGE].into_iter().chain(names).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Copies the programs and the libraries below `local`.
fn arrange(unpacked: &Path, local: &Path) -> Result<(), ImageError> {
    for folder in ["bin", "lib"] {
        files::create_directory(&local.join(folder))?;
    }
    let programs = unpacked.join("usr/bin");
    // redis-server and redis-check-rdb are one program, which looks at the name that started it.
    copy(&programs.join("redis-check-rdb"), &local.join("bin/redis-server"))?;
    copy(&programs.join("redis-cli"), &local.join("bin/redis-cli"))?;
    for folder in ["lib", "usr/lib"] {
        for library in shared_objects(&unpacked.join(folder)) {
            if let Some(name) = library.file_name() {
                copy(&library, &local.join("lib").join(name))?;
            }
        }
    }
    Ok(())
}

/// The shared libraries in the folders of a machine type, such as `x86_64-linux-gnu`.
fn shared_objects(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    entries(folder)
        .flat_map(|machine| entries(&machine.path()).collect::<Vec<_>>())
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.to_string_lossy().contains(".so"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_libraries_of_the_tree_and_no_other_packages() {
        let tree = "redis-tools\n  Depends: libatomic1\n  Depends: libc6\nlibatomic1\nadduser\nlibc6\nlibatomic1\n<virtual>\n";
        assert_eq!(libraries(tree), ["libatomic1", "redis-tools"]);
    }

    #[test]
    fn arranges_programs_and_libraries() {
        let directory = tempfile::tempdir().unwrap();
        let (unpacked, local) = (directory.path().join("unpacked"), directory.path().join("local"));
        for path in [
            "usr/bin/redis-check-rdb",
            "usr/bin/redis-cli",
            "lib/x86_64-linux-gnu/libsystemd.so.0",
            "usr/lib/x86_64-linux-gnu/libssl.so.3",
            "usr/lib/x86_64-linux-gnu/engines-3/afalg.so",
            "usr/share/doc/libssl3/copyright",
        ] {
            files::write(&unpacked.join(path), path).unwrap();
        }
        arrange(&unpacked, &local).unwrap();
        let read = |path: &str| files::read(&local.join(path)).unwrap();
        assert_eq!(read("bin/redis-server"), "usr/bin/redis-check-rdb");
        assert_eq!(read("lib/libssl.so.3"), "usr/lib/x86_64-linux-gnu/libssl.so.3");
        assert_eq!(files::newest_first(&local.join("lib")).len(), 2);
    }
}
