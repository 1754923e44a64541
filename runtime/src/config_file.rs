//! A configuration file that the operator wrote, identified by the digest of its bytes.

use std::path::{Path, PathBuf};

use behalf_contract::digest;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// The content of a configuration file.
#[derive(Debug, Clone)]
pub struct ConfigFile<T> {
    /// The parsed content.
    pub config: T,

    /// [`digest::format_sha256`] of the file's bytes. The operator compares it with the digest of the file
    /// that it wrote.
    pub digest: String,
}

/// Why a configuration file cannot be used. Each message names the file and the next step.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file is missing, or the process may not read it.
    #[error("failed to read the configuration {}: in a Pod the operator mounts it there; elsewhere name a file with --config", path.display())]
    Unreadable {
        /// Path from `--config`.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The digest differs from the one in the Pod template.
    #[error(
        "the configuration {} is not the one that the operator wrote for this Pod: somebody replaced its ConfigMap; \
         find out who, then set spec.suspend of the McpServer to true until its Pods are gone, and back",
        path.display()
    )]
    Replaced {
        /// Path from `--config`.
        path: PathBuf,
    },

    /// The file is not YAML, or a field is missing, unknown or of another type. The cause names field and line.
    #[error(
        "the configuration {} does not fit this version: run an operator of the same release, or correct the field",
        path.display()
    )]
    Syntax {
        /// Path from `--config`.
        path: PathBuf,

        /// Error of the parser.
        #[source]
        source: serde_yaml::Error,
    },
}

impl<T: DeserializeOwned> ConfigFile<T> {
    /// Reads and parses the file.
    ///
    /// `expected` is the digest that the Pod template names ([`digest::VARIABLE`]). Without it, any file is
    /// accepted.
    pub fn load(path: &Path, expected: Option<&str>) -> Result<Self, ConfigFileError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let digest = digest::format_sha256(&Sha256::digest(&bytes).into());
        // Compared before the file is parsed: the parser never sees a foreign file.
        if expected.is_some_and(|expected| expected != digest) {
            return Err(ConfigFileError::Replaced {
                path: path.to_owned(),
            });
        }
        let config = serde_yaml::from_slice(&bytes).map_err(|source| ConfigFileError::Syntax {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { config, digest })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        port: u16,
    }

    fn load(text: &str, expected: Option<&str>) -> Result<ConfigFile<Config>, ConfigFileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ConfigFile::load(file.path(), expected)
    }

    #[test]
    fn the_digest_is_of_the_exact_bytes() {
        let one = load("port: 1", None).unwrap();
        let same = load("port: 1\n", None).unwrap();
        assert_eq!(one.config, same.config);
        assert_ne!(one.digest, same.digest);
        assert!(one.digest.starts_with("sha256:"));
    }

    #[test]
    fn loads_the_file_of_the_pod_template_and_no_other() {
        let digest = load("port: 1", None).unwrap().digest;
        for (text, expected, loads) in [
            ("port: 1", Some(digest.as_str()), true),
            ("port: 2", Some(digest.as_str()), false),
            ("port: 2", None, true),
            ("port: 1", Some(""), false),
            ("not a configuration", Some(digest.as_str()), false),
        ] {
            match load(text, expected) {
                Ok(file) => assert!(loads, "{:?}", file.config),
                Err(error) => assert!(
                    !loads && matches!(error, ConfigFileError::Replaced { .. }),
                    "{error}"
                ),
            }
        }
    }

    #[test]
    fn a_wrong_field_is_named_in_the_cause() {
        for (text, named) in [("{}", "port"), ("{port: 1, openMode: true}", "openMode")] {
            let error = load(text, None).unwrap_err();
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains(named), "{cause}");
        }
    }

    #[test]
    fn the_error_of_a_missing_file_names_it() {
        let error = ConfigFile::<Config>::load(Path::new("/nonexistent/sidecar.yaml"), None).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/sidecar.yaml"), "{error}");
    }
}
