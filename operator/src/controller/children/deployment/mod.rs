//! Builds the Deployment that runs the sidecar and the server.

mod containers;
mod topology_spread;
mod volumes;

pub(in crate::controller) use volumes::keyring_of;

use std::collections::BTreeMap;

use behalf_contract::{StoreConfig, digest};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest as _, Sha256};

use crate::controller::children::{BuildError, ChildKind, Configuration, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

/// The group that both users share, for the host key and projected files. It is the primary group of neither.
const SHARED_GROUP: i64 = 65531;

/// Time without progress after which a rollout has failed, in seconds. Each Deployment that the operator builds contains it.
pub const PROGRESS_DEADLINE_SECONDS: i32 = 600;

impl ChildKind for Deployment {
    const KIND: &'static str = "Deployment";
}

pub(super) fn build(plan: &Plan, configuration: &Configuration) -> Result<Deployment, BuildError> {
    let mut template = PodTemplateSpec {
        metadata: Some(pod_metadata(plan, configuration)),
        spec: Some(pod(plan, configuration)),
    };
    // After any edit of the Pod template, the reports of older Pods must not count for the new ones.
    let bytes = serde_json::to_vec(&template).map_err(BuildError::Template)?;
    let template_digest = digest::format_sha256(&Sha256::digest(&bytes).into());
    let annotate = |metadata: &mut ObjectMeta| {
        metadata
            .annotations
            .get_or_insert_default()
            .insert(names::TEMPLATE_ANNOTATION.to_owned(), template_digest.clone());
    };
    annotate(template.metadata.get_or_insert_default());
    let mut metadata = metadata(plan, plan.object.name.clone());
    metadata.annotations = Some(configuration.annotations());
    annotate(&mut metadata);
    Ok(Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(if plan.suspend { 0 } else { plan.replicas }),
            selector: LabelSelector {
                match_labels: Some(names::selector(&plan.object.name)),
                ..LabelSelector::default()
            },
            strategy: Some(strategy(plan)),
            // Each kept ReplicaSet also keeps its configuration, so only two are kept.
            revision_history_limit: Some(2),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    })
}

/// The node labels of the spec, and Linux as the operating system. No images exist for other systems.
fn node_selector(plan: &Plan) -> BTreeMap<String, String> {
    let mut labels = plan.pod.node_selector.clone();
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    labels
}

/// Recreate for sessions in memory, because no Pod knows the sessions of another. With a shared store an update starts
/// a Pod before it stops one.
fn strategy(plan: &Plan) -> DeploymentStrategy {
    match plan.sessions.store {
        StoreConfig::Memory => DeploymentStrategy {
            type_: Some("Recreate".to_owned()),
            rolling_update: None,
        },
        StoreConfig::Redis(_) => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_unavailable: Some(IntOrString::Int(0)),
                max_surge: Some(IntOrString::Int(1)),
            }),
        },
    }
}

fn pod_metadata(plan: &Plan, configuration: &Configuration) -> ObjectMeta {
    let mut labels = plan.pod.labels.clone();
    labels.extend(plan.child_labels.overridden_by(names::labels(&plan.object.name)));
    let mut annotations = plan.pod.annotations.clone();
    annotations.extend(configuration.annotations());
    annotations
        .entry("kubectl.kubernetes.io/default-container".to_owned())
        .or_insert_with(|| names::SERVER_CONTAINER.to_owned());
    ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn pod(plan: &Plan, configuration: &Configuration) -> PodSpec {
    let settings = &plan.pod;
    PodSpec {
        service_account_name: Some(plan.service_account_name().to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        init_containers: Some(vec![containers::sidecar(plan, configuration)]),
        containers: vec![containers::server(plan, configuration)],
        volumes: Some(volumes::build(plan, configuration)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            fs_group: Some(SHARED_GROUP),
            // Repeats the group of fsGroup: Azure Policy's restricted initiative refuses Pods without this field.
            supplemental_groups: Some(vec![SHARED_GROUP]),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(i64::from(settings.termination_grace_period_seconds)),
        node_selector: Some(node_selector(plan)),
        tolerations: (!settings.tolerations.is_empty()).then(|| settings.tolerations.clone()),
        affinity: topology_spread::affinity(plan),
        topology_spread_constraints: topology_spread::build(plan),
        priority_class_name: settings.priority_class_name.clone(),
        image_pull_secrets: (!settings.image_pull_secrets.is_empty())
            .then(|| settings.image_pull_secrets.clone()),
        ..PodSpec::default()
    }
}
