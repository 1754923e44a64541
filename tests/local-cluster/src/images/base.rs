//! The base of every image: glibc, libgcc, time zones, CA certificates, and a user that is not root.
//!
//! Released images stand on the public base that their Containerfiles name. Here the base is made
//! of the packages of the machine's own Debian, so that no container registry is needed, and so that
//! the C library is never older than the one the binaries were linked with.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::assemble::{FORMAT, assemble};
use super::builder::{Builder, Source};
use super::error::ImageError;
use crate::files::{self, ContentName, FileError};
use crate::{Call, CommandError, Progress, prerequisites};

const RECIPE: &str = "FROM scratch\nCOPY root /\nUSER 65532:65532\n";

const PACKAGES: [&str; 4] = ["libc6", "libgcc-s1", "tzdata", "ca-certificates"];

/// The libraries of the base.
pub(super) const IN_BASE: [&str; 2] = ["libc6", "libgcc-s1"];

/// Paths of the packages that no program of the project reads, from the root of the image.
const DROPPED: [&str; 8] = [
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/zoneinfo/posix",
    "usr/share/zoneinfo/right",
    "usr/sbin",
];

const PASSWD: &str =
    "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// A base to build on.
#[derive(Debug)]
pub(super) struct Base {
    /// The place where the builder finds it.
    pub(super) source: Source,

    /// Text that differs between two bases.
    pub(super) identity: String,
}

impl Base {
    /// The base in BASE, else one made of Debian packages, else the public one.
    pub(super) fn choose(builder: Builder, progress: &Progress) -> Result<Self, ImageError> {
        let named = std::env::var("BASE").ok().filter(|base| !base.is_empty());
        if let Some(base) = named {
            return Ok(Self {
                identity: base.clone(),
                source: Source::Named(base),
            });
        }
        if builder == Builder::Buildah {
            prerequisites::ensure_images(progress)?;
        }
        if has_packages() {
            return Self::from_packages(builder, progress);
        }
        let public = "gcr.io/distroless/cc-debian12:nonroot".to_owned();
        Ok(Self {
            identity: public.clone(),
            source: Source::Named(public),
        })
    }

    /// The base made of Debian packages.
    pub(super) fn from_packages(builder: Builder, progress: &Progress) -> Result<Self, ImageError> {
        // The name contains the version of the machine's C library, so an upgrade makes a new base.
        let libc = Call::new("dpkg-query")
            .args(["-W", "-f", "${Version} ${Architecture}", "libc6"])
            .text();
        let libc = libc.map_err(ImageError::Base)?;
        let tag = ContentName::default()
            .text(FORMAT)
            .text(RECIPE)
            .text(&PACKAGES.join(" "))
            .text(&libc)
            .finish();
        let image = assemble(builder, "base", &tag, RECIPE, None, progress, |context| {
            let root = context.join("root");
            unpack(&PACKAGES, &context.with_file_name("packages"), &root)?;
            Ok(arrange(&root)?)
        })?;
        Ok(Self {
            identity: image.reference(),
            source: Source::Archive(image),
        })
    }
}

/// Whether this machine can download and unpack Debian packages.
pub(super) fn has_packages() -> bool {
    prerequisites::find("apt-get").is_some() && prerequisites::find("dpkg-deb").is_some()
}

/// Puts `busybox` and a link for each of its tools into a folder.
pub(super) fn busybox(context: &Path, folder: &Path) -> Result<(), ImageError> {
    let unpacked = context.with_file_name("unpacked");
    unpack(&["busybox"], &context.with_file_name("packages"), &unpacked)?;
    files::create_directory(folder)?;
    let binary = folder.join("busybox");
    let found = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
    let found = found.iter().find(|path| path.exists()).unwrap_or(&found[0]);
    fs::copy(found, &binary).map_err(FileError::at("copy", found))?;
    let tools = Call::new(&binary)
        .arg("--list")
        .text()
        .map_err(ImageError::Base)?;
    for tool in tools.lines().filter(|tool| *tool != "busybox") {
        let link = folder.join(tool);
        symlink("busybox", &link).map_err(FileError::at("create", &link))?;
    }
    Ok(())
}

/// The version of a package that Debian offers now. A security update makes a new image.
pub(super) fn candidate(package: &str) -> Result<String, CommandError> {
    let policy = Call::new("apt-cache").args(["policy", package]).text()?;
    let line = policy.lines().find(|line| line.trim().starts_with("Candidate:"));
    Ok(line.unwrap_or_default().trim().to_owned())
}

/// The packages and everything that they depend on, as `apt-cache` prints it: each package begins a line, and what it depends
/// on is indented.
pub(super) fn dependencies(packages: &[&str]) -> Result<String, CommandError> {
    let without = [
        "recommends",
        "suggests",
        "conflicts",
        "breaks",
        "replaces",
        "enhances",
        "pre-depends",
    ];
    Call::new("apt-cache")
        .args(["depends", "--recurse"])
        .args(without.map(|relation| format!("--no-{relation}")))
        .args(packages)
        .text()
}

/// Downloads packages of the machine's own Debian and unpacks them into `root`.
pub(super) fn unpack(packages: &[&str], downloads: &Path, root: &Path) -> Result<(), ImageError> {
    files::create_directory(downloads)?;
    download(packages, downloads).map_err(ImageError::Base)?;
    for package in files::newest_first(downloads) {
        Call::new("dpkg-deb")
            .arg("-x")
            .arg(package)
            .arg(root)
            .run()
            .map_err(ImageError::Base)?;
    }
    Ok(())
}

fn download(packages: &[&str], folder: &Path) -> Result<(), CommandError> {
    let download = || {
        Call::new("apt-get")
            .args(["-q", "download"])
            .args(packages)
            .directory(folder)
            .run()
    };
    let Err(first) = download() else { return Ok(()) };
    if !prerequisites::is_root() {
        return Err(first);
    }
    // The lists of packages may be missing or too old.
    Call::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "update"])
        .run()?;
    download()
}

/// Turns the unpacked packages into the root of the image.
fn arrange(root: &Path) -> Result<(), FileError> {
    let bundle = certificates(&root.join("usr/share/ca-certificates/mozilla"))?;
    drop_documents(root)?;
    for path in ["usr/share/ca-certificates", "etc/ca-certificates"] {
        files::remove_directory(&root.join(path))?;
    }
    // Character set converters are a third of the C library; Rust programs have their own.
    for library in ["lib", "usr/lib"] {
        for entry in fs::read_dir(root.join(library)).into_iter().flatten().flatten() {
            files::remove_directory(&entry.path().join("gconv"))?;
        }
    }
    // Newer Debian releases ship these links in another package, which is not installed here.
    for folder in ["lib", "lib64"] {
        let (link, target) = (root.join(folder), Path::new("usr").join(folder));
        if !link.exists() && root.join(&target).exists() {
            symlink(&target, &link).map_err(FileError::at("create", &link))?;
        }
    }
    let texts = [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", NSSWITCH),
        ("etc/ssl/certs/ca-certificates.crt", bundle.as_str()),
    ];
    for (name, text) in texts {
        let path = root.join(name);
        files::write(&path, text)?;
        permit(&path, 0o644)?;
    }
    for (folder, mode) in [("tmp", 0o1777), ("home/nonroot", 0o755)] {
        let path = root.join(folder);
        files::create_directory(&path)?;
        permit(&path, mode)?;
    }
    Ok(())
}

/// Removes what no program reads from unpacked packages.
pub(super) fn drop_documents(root: &Path) -> Result<(), FileError> {
    for path in DROPPED {
        files::remove_directory(&root.join(path))?;
    }
    Ok(())
}

/// All certificates of the package in one text. The machine's own bundle may hold private ones.
fn certificates(folder: &Path) -> Result<String, FileError> {
    let mut files = files::newest_first(folder);
    files.sort();
    let mut bundle = String::new();
    for file in files {
        let _ = writeln!(bundle, "{}", files::read(&file)?.trim_end());
    }
    Ok(bundle)
}

pub(super) fn permit(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(FileError::at("change", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arranges_packages_with_and_without_merged_folders() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (path, text) in [
            ("usr/lib/x86_64-linux-gnu/libc.so.6", ""),
            ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", ""),
            ("usr/lib64/ld-linux-x86-64.so.2", ""),
            ("usr/share/doc/libc6/copyright", ""),
            ("usr/share/ca-certificates/mozilla/b.crt", "second\n"),
            ("usr/share/ca-certificates/mozilla/a.crt", "first"),
        ] {
            files::write(&root.join(path), text).unwrap();
        }
        arrange(root).unwrap();
        assert!(root.join("lib/x86_64-linux-gnu/libc.so.6").exists());
        assert!(root.join("lib64/ld-linux-x86-64.so.2").exists());
        assert!(!root.join("usr/lib/x86_64-linux-gnu/gconv").exists());
        assert!(!root.join("usr/share/doc").exists());
        let bundle = files::read(&root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
        assert_eq!(bundle, "first\nsecond\n");
        assert!(
            files::read(&root.join("etc/passwd"))
                .unwrap()
                .contains(":65532:65532:")
        );
    }
}
