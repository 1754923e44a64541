//! Builds the archive of an image, unless there is one with the same content.

use std::fs;
use std::path::Path;

use super::builder::{self, Builder, Source, home};
use super::error::ImageError;
use super::image::Image;
use crate::Progress;
use crate::files::{self, FileError};

/// Raised when the way of building changes, so that no archive of the old way is taken.
pub(super) const FORMAT: &str = "1";

/// Number of archives of each image that are kept.
const KEPT: usize = 3;

/// Returns the archive of an image, and builds it from a prepared context if there is none yet.
pub(super) fn assemble(
    builder: Builder,
    name: &str,
    tag: &str,
    recipe: &str,
    base: Option<&Source>,
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
        builder
            .build(work.path(), base, &image.reference(), &finished)
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

pub(super) fn copy(from: &Path, to: &Path) -> Result<(), ImageError> {
    fs::copy(from, to).map_err(FileError::at("copy", from))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
