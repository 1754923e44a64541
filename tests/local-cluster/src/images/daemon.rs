//! Images of Redis, Valkey and nginx: Debian's package on the base, or the public image where there are no Debian packages.

use std::fs;
use std::path::{Path, PathBuf};

use super::base::{self, Base};
use super::{Builder, FORMAT, Image, ImageError, assemble, copy};
use crate::Progress;
use crate::files::{self, ContentName};
use crate::prerequisites::{self, PrerequisiteError};

/// A program of a Debian package.
struct Daemon {
    /// The image's name.
    name: &'static str,

    /// The package. The image also gets the libraries that it needs.
    package: &'static str,

    /// The folder of the cache with the programs, if they are not in the package: then only its libraries are used. Programs in
    /// PATH are used if the folder does not exist.
    cached: Option<&'static str>,

    /// Paths of the programs in the package, and their names in the image. The first one is the entry point.
    programs: &'static [(&'static str, &'static str)],

    /// The public image, for machines without Debian packages.
    public: &'static str,

    /// The entry point of the public image.
    public_program: &'static str,
}

const REDIS: Daemon = Daemon {
    name: "redis",
    // `redis-server` is another name of one of these programs, which looks at the name that started it.
    package: "redis-tools",
    cached: None,
    programs: &[
        ("usr/bin/redis-check-rdb", "redis-server"),
        ("usr/bin/redis-cli", "redis-cli"),
    ],
    public: "docker.io/library/redis:7.0",
    public_program: "/usr/local/bin/redis-server",
};

const VALKEY: Daemon = Daemon {
    name: "valkey",
    // Debian 12 has Valkey in its backports only. `.ci/valkey` puts the programs, which need the libraries of Redis, into the cache.
    package: "redis-tools",
    cached: Some("valkey"),
    programs: &[("valkey-server", "valkey-server"), ("valkey-cli", "valkey-cli")],
    public: "docker.io/valkey/valkey:8.0",
    public_program: "/usr/local/bin/valkey-server",
};

const NGINX: Daemon = Daemon {
    name: "nginx",
    package: "nginx",
    cached: None,
    programs: &[("usr/sbin/nginx", "nginx")],
    public: "docker.io/library/nginx:1.28",
    public_program: "/usr/sbin/nginx",
};

/// Builds an image with `redis-server` and `redis-cli`.
pub fn redis(progress: &Progress) -> Result<Image, ImageError> {
    REDIS.build(progress)
}

/// Builds an image with `valkey-server` and `valkey-cli`.
pub fn valkey(progress: &Progress) -> Result<Image, ImageError> {
    VALKEY.build(progress)
}

/// Builds an image with `nginx`. Its arguments name the configuration file.
pub fn nginx(progress: &Progress) -> Result<Image, ImageError> {
    NGINX.build(progress)
}

impl Daemon {
    fn build(&self, progress: &Progress) -> Result<Image, ImageError> {
        let builder = Builder::choose();
        if !base::has_packages() {
            let recipe = format!(
                "FROM {}\nUSER 65532:65532\nENTRYPOINT [\"{}\"]\n",
                self.public, self.public_program
            );
            let tag = ContentName::default().text(FORMAT).text(&recipe).finish();
            return assemble(builder, self.name, &tag, &recipe, None, progress, |_| Ok(()));
        }
        let base = Base::from_packages(builder, progress)?;
        let version = base::candidate(self.package).map_err(ImageError::Base)?;
        let recipe = self.recipe();
        let programs = self.cached_programs()?;
        let mut tag = ContentName::default()
            .text(FORMAT)
            .text(&recipe)
            .text(&base.identity)
            .text(&version);
        for program in &programs {
            tag = tag.file(program)?;
        }
        let tag = tag.finish();
        assemble(
            builder,
            self.name,
            &tag,
            &recipe,
            Some(&base.source),
            progress,
            |context| {
                let unpacked = context.with_file_name("unpacked");
                let tree = base::dependencies(&[self.package]).map_err(ImageError::Base)?;
                let packages = libraries(&tree, self.package);
                base::unpack(&packages, &context.with_file_name("packages"), &unpacked)?;
                for program in &programs {
                    copy(program, &unpacked.join(program.file_name().unwrap_or_default()))?;
                }
                self.arrange(&unpacked, &context.join("root/usr/local"))
            },
        )
    }

    /// The programs in the cache or in PATH, if they are not in the package.
    fn cached_programs(&self) -> Result<Vec<PathBuf>, ImageError> {
        let Some(folder) = self.cached else {
            return Ok(Vec::new());
        };
        let folder = files::cache().join(folder);
        let find = |&(program, _): &(&str, &str)| {
            let cached = folder.join(program);
            if cached.exists() {
                Ok(cached)
            } else {
                prerequisites::find(program).ok_or(PrerequisiteError::Valkey.into())
            }
        };
        self.programs.iter().map(find).collect()
    }

    /// Libraries are in a folder of their own, so that they never replace those of the base.
    fn recipe(&self) -> String {
        let program = self.programs.first().map_or("", |(_, name)| name);
        format!(
            "ARG BASE\nFROM ${{BASE}}\nENV LD_LIBRARY_PATH=/usr/local/lib PATH=/usr/local/bin\nCOPY root /\n\
             USER 65532:65532\nENTRYPOINT [\"/usr/local/bin/{program}\"]\n"
        )
    }

    /// Copies the programs and the libraries below `local`.
    fn arrange(&self, unpacked: &Path, local: &Path) -> Result<(), ImageError> {
        for folder in ["bin", "lib"] {
            files::create_directory(&local.join(folder))?;
        }
        for (program, name) in self.programs {
            copy(&unpacked.join(program), &local.join("bin").join(name))?;
        }
        for folder in ["lib", "usr/lib"] {
            for library in shared_objects(&unpacked.join(folder)) {
                if let Some(name) = library.file_name() {
                    copy(&library, &local.join("lib").join(name))?;
                }
            }
        }
        Ok(())
    }
}

/// The package and every library of the tree. The names of the libraries differ between Debian's releases.
fn libraries<'t>(tree: &'t str, package: &'t str) -> Vec<&'t str> {
    // Each package stands at the start of a line. Its dependencies are indented.
    let is_library = |line: &&str| line.starts_with("lib") || line.starts_with("zlib");
    let names = tree
        .lines()
        .filter(|line| is_library(line) && !base::IN_BASE.contains(line));
    let mut names: Vec<&str> = [package].into_iter().chain(names).collect();
    names.sort_unstable();
    names.dedup();
    names
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
        let tree = "redis-tools\n  Depends: libatomic1\n  Depends: libc6\nlibatomic1\nadduser\nlibc6\nlibatomic1\nzlib1g\n<virtual>\n";
        assert_eq!(
            libraries(tree, "redis-tools"),
            ["libatomic1", "redis-tools", "zlib1g"]
        );
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
        REDIS.arrange(&unpacked, &local).unwrap();
        let read = |path: &str| files::read(&local.join(path)).unwrap();
        assert_eq!(read("bin/redis-server"), "usr/bin/redis-check-rdb");
        assert_eq!(read("lib/libssl.so.3"), "usr/lib/x86_64-linux-gnu/libssl.so.3");
        assert_eq!(files::newest_first(&local.join("lib")).len(), 2);
    }
}
