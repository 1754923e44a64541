//! The address and identity that an object's Pods run with: from its plan, or from its Deployment while its
//! newest spec is refused.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::controller::names;
use crate::controller::plan::Plan;

/// The address and the identity of running Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// The public origin.
    pub public_url: String,

    /// The subject of the Pods' tokens.
    pub subject: String,

    /// The audience of the Pods' tokens.
    pub audience: String,
}

/// The parts of the sidecar's file that concern the status. Files of older versions have them too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SidecarFile {
    public_url: String,
    entra: SidecarFileEntra,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SidecarFileEntra {
    federation_audience: String,
}

impl PodIdentity {
    /// Takes the values from a plan that was applied.
    pub fn of(plan: &Plan) -> Self {
        Self {
            public_url: plan.public_url.origin().ascii_serialization(),
            subject: plan.subject(),
            audience: plan.entra.federation_audience.clone(),
        }
    }

    /// Reads the values from the Deployment that the object `uid` controls, and from the configuration that
    /// the Deployment names. Returns `None` if the configuration is missing or its digest differs from the
    /// one in the Deployment: no Pod runs with such a configuration.
    pub fn read(deployment: &Deployment, config_maps: &[Arc<ConfigMap>], uid: &str) -> Option<Self> {
        if names::controller_uid(&deployment.metadata) != Some(uid) {
            return None;
        }
        let name = deployment.annotations().get(names::CONFIGURATION_ANNOTATION)?;
        let config_map = config_maps
            .iter()
            .find(|config_map| config_map.name_any() == *name)?;
        let text = config_map.data.as_ref()?.get(names::SIDECAR_FILE)?;
        let digest = behalf_contract::digest::format_sha256(&Sha256::digest(text).into());
        if deployment.annotations().get(names::SIDECAR_DIGEST_ANNOTATION) != Some(&digest) {
            return None;
        }
        let file: SidecarFile = serde_yaml::from_str(text).ok()?;
        let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
        Some(Self {
            // The file contains the origin as a URL, which ends with a slash.
            public_url: file.public_url.trim_end_matches('/').to_owned(),
            subject: names::subject(
                &deployment.namespace().unwrap_or_default(),
                pod.service_account_name.as_deref()?,
            ),
            audience: file.entra.federation_audience,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{EXAMPLES, QUICKSTART, children, plan, server};

    #[test]
    fn address_and_identity_are_read_back_as_planned() {
        for (_, manifest) in EXAMPLES {
            let server = server(manifest);
            let children = children(&server);
            let config_maps = [Arc::new(children.config_map)];
            let read = PodIdentity::read(&children.deployment, &config_maps, &server.uid().unwrap());
            assert_eq!(read, Some(PodIdentity::of(&plan(&server))));
        }
    }

    #[rstest]
    #[case::the_deployment_is_another_objects(|deployment: &mut Deployment, _: &mut ConfigMap| {
        deployment.metadata.owner_references = None;
    })]
    #[case::the_configuration_is_gone(|_: &mut Deployment, config_map: &mut ConfigMap| {
        config_map.metadata.name = Some("another".to_owned());
    })]
    #[case::the_configuration_was_replaced(|_: &mut Deployment, config_map: &mut ConfigMap| {
        let text = config_map.data.as_mut().unwrap().get_mut(names::SIDECAR_FILE).unwrap();
        *text = text.replace("mcp.contoso.example", "mcp.attacker.example");
    })]
    fn nothing_is_read_where(#[case] change: fn(&mut Deployment, &mut ConfigMap)) {
        let server = server(QUICKSTART);
        let mut children = children(&server);
        change(&mut children.deployment, &mut children.config_map);
        let config_maps = [Arc::new(children.config_map)];
        let read = PodIdentity::read(&children.deployment, &config_maps, &server.uid().unwrap());
        assert_eq!(read, None);
    }
}
