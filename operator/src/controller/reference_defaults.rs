//! Objects of each namespace that the installation names, so that not every `McpServer` has to.

use k8s_openapi::api::core::v1::LocalObjectReference;

use crate::api::v1alpha1::{CertificateAuthorityRef, McpServerSpec, PodSettings};
use crate::controller::names;

/// The defaults of the installation for references to objects. A Pod can only use objects of its own namespace, so each of them
/// must exist in every namespace with `McpServers`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferenceDefaults {
    /// The certificate authorities of an object without `entra.certificateAuthorityRef`.
    pub certificate_authority: Option<CertificateAuthorityRef>,

    /// The Secrets with credentials for the registry, for an object without `pod.imagePullSecrets`.
    pub image_pull_secrets: Vec<String>,
}

impl ReferenceDefaults {
    /// Returns the certificate authorities for Entra and Azure DevOps.
    pub fn certificate_authority<'a>(
        &'a self,
        spec: &'a McpServerSpec,
    ) -> Option<&'a CertificateAuthorityRef> {
        let own = spec.entra.certificate_authority_ref.as_ref();
        own.or(self.certificate_authority.as_ref())
    }

    /// Returns the settings of the Pods, with the default for the pull secrets.
    pub fn complete(&self, pod: &PodSettings) -> PodSettings {
        let mut pod = pod.clone();
        if pod.image_pull_secrets.is_empty() {
            let references = self
                .image_pull_secrets
                .iter()
                .map(|name| LocalObjectReference { name: name.clone() });
            pod.image_pull_secrets = references.collect();
        }
        pod
    }
}

/// Why a reference is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// No object has such a name.
    #[error(
        "{0:?} is no name of an object: write a-z, 0-9, - and ., starting and ending with a letter or a digit"
    )]
    Name(String),

    /// No `ConfigMap` has such a key.
    #[error("{0:?} is no key of a ConfigMap: write letters, digits, -, _ and .")]
    Key(String),
}

/// Reads the name of an object.
pub fn parse_name(text: &str) -> Result<String, InvalidReference> {
    match text {
        name if names::is_subdomain(name) => Ok(name.to_owned()),
        _ => Err(InvalidReference::Name(text.to_owned())),
    }
}

/// Reads a key of a `ConfigMap`. It becomes the name of a file, so that `.` and `..` are none.
pub fn parse_key(text: &str) -> Result<String, InvalidReference> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=253).contains(&text.len()) && text.bytes().all(is_plain) && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err(InvalidReference::Key(text.to_owned()))
    }
}
