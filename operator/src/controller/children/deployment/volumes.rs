//! The volumes, and their mounts in each container.

use behalf_contract::{ExchangePlace, paths};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, Pod, ProjectedVolumeSource, SecretVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::v1alpha1::{KeyringSecretRef, RedisSecretRef};
use crate::controller::children::Configuration;
use crate::controller::children::config_map::SERVER_KEY;
use crate::controller::names::{self, SIDECAR_FILE};
use crate::controller::plan::{ForeignPlan, KeyringPlan, Plan, ServerPlan};

const SIDECAR_CONFIGURATION: &str = "sidecar-configuration";
const SERVER_CONFIGURATION: &str = "server-configuration";
const CERTIFICATE_AUTHORITY: &str = "certificate-authority";
const REVOCATIONS: &str = "revocations";
const KEYRING: &str = "keyring";
const STORE_CREDENTIALS: &str = "store-credentials";
const STORE_CERTIFICATE_AUTHORITY: &str = "store-certificate-authority";
const HOST_KEY: &str = "host-key";
const ADMIN: &str = "admin";
const SIDECAR_TOKEN: &str = "sidecar-federated-token";
const SERVER_TOKEN: &str = "server-federated-token";

/// Lifetime of a projected token in seconds. The kubelet renews it after four fifths of it.
const TOKEN_LIFETIME_SECONDS: i64 = 3600;

/// Readable by all users of the Pod.
const READ_ALL: i32 = 0o444;

/// Readable by owner and the Pod's group.
const READ_GROUP: i32 = 0o440;

pub(super) fn build(plan: &Plan, configuration: &Configuration) -> Vec<Volume> {
    let mut volumes = vec![file(SIDECAR_CONFIGURATION, configuration, SIDECAR_FILE)];
    match &plan.kind {
        ServerPlan::AzureDevOps(_) => volumes.push(file(SERVER_CONFIGURATION, configuration, SERVER_KEY)),
        ServerPlan::Container(server) => volumes.extend(writable_volumes(server)),
    }
    volumes.extend([
        secret(
            REVOCATIONS,
            &names::revocations(&plan.object.name),
            &[(names::REVOCATIONS_KEY, paths::REVOCATIONS)],
        ),
        keyring(plan),
        in_memory(HOST_KEY),
        in_memory(ADMIN),
        token(plan, SIDECAR_TOKEN),
    ]);
    if plan.token_exchange.at == ExchangePlace::Server {
        volumes.push(token(plan, SERVER_TOKEN));
    }
    if let Some(reference) = &plan.certificate_authority {
        volumes.push(config_map(
            CERTIFICATE_AUTHORITY,
            &reference.name,
            &reference.key,
            file_name(paths::CERTIFICATE_AUTHORITY),
        ));
    }
    volumes.extend(plan.store.secret.as_ref().map(store_credentials));
    if let Some(reference) = &plan.store.certificate_authority {
        volumes.push(config_map(
            STORE_CERTIFICATE_AUTHORITY,
            &reference.name,
            &reference.key,
            file_name(paths::STORE_CERTIFICATE_AUTHORITY),
        ));
    }
    volumes
}

pub(super) fn sidecar_mounts(plan: &Plan) -> Vec<VolumeMount> {
    let mut mounts = vec![
        read_only(SIDECAR_CONFIGURATION, paths::SIDECAR_CONFIG),
        read_only(REVOCATIONS, paths::REVOCATIONS),
        read_only(KEYRING, paths::KEYRING),
        // It writes the key that the server reads.
        writable(HOST_KEY, paths::HOST_KEY),
        // It creates the socket. No other container mounts it.
        writable(ADMIN, paths::ADMIN_SOCKET),
        read_only(SIDECAR_TOKEN, paths::FEDERATED_TOKEN),
    ];
    mounts.extend(certificate_authority_mount(plan));
    if plan.store.secret.is_some() {
        mounts.push(read_only(STORE_CREDENTIALS, paths::STORE_PASSWORD));
    }
    if plan.store.certificate_authority.is_some() {
        mounts.push(read_only(
            STORE_CERTIFICATE_AUTHORITY,
            paths::STORE_CERTIFICATE_AUTHORITY,
        ));
    }
    mounts
}

/// The mounts of a server from an image of the object's author: its writable directories. It does not know the host key.
pub(super) fn foreign_mounts(plan: &Plan, server: &ForeignPlan) -> Vec<VolumeMount> {
    let directories = server.writable_paths.iter().enumerate();
    let mounts = directories.map(|(number, path)| VolumeMount {
        name: directory(number),
        mount_path: path.clone(),
        ..VolumeMount::default()
    });
    mounts.chain(certificate_authority_mount(plan)).collect()
}

/// An empty volume for each writable directory. The kubelet evicts a Pod that exceeds the limit, before the node's disk is full.
fn writable_volumes(server: &ForeignPlan) -> impl Iterator<Item = Volume> {
    (0..server.writable_paths.len()).map(|number| Volume {
        name: directory(number),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(server.writable_size.clone()),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    })
}

/// The name of the volume for the writable directory at this position of the list.
fn directory(number: usize) -> String {
    format!("writable-{number}")
}

/// The mounts of the built-in server.
pub(super) fn server_mounts(plan: &Plan) -> Vec<VolumeMount> {
    let mut mounts = vec![
        read_only(SERVER_CONFIGURATION, paths::SERVER_CONFIG),
        read_only(HOST_KEY, paths::HOST_KEY),
    ];
    if plan.token_exchange.at == ExchangePlace::Server {
        mounts.push(read_only(SERVER_TOKEN, paths::FEDERATED_TOKEN));
    }
    mounts.extend(certificate_authority_mount(plan));
    mounts
}

fn certificate_authority_mount(plan: &Plan) -> Option<VolumeMount> {
    plan.certificate_authority
        .as_ref()
        .map(|_| read_only(CERTIFICATE_AUTHORITY, paths::CERTIFICATE_AUTHORITY))
}

/// Mounts the directory of `file`: a single mounted file would never be renewed.
fn read_only(volume: &str, file: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: file
            .rsplit_once('/')
            .map_or(file, |(directory, _)| directory)
            .to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn writable(volume: &str, file: &str) -> VolumeMount {
    VolumeMount {
        read_only: None,
        ..read_only(volume, file)
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn file(volume: &str, configuration: &Configuration, key: &str) -> Volume {
    config_map(volume, &configuration.config_map_name, key, key)
}

fn config_map(volume: &str, name: &str, key: &str, path: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: name.to_owned(),
            default_mode: Some(READ_ALL),
            items: Some(vec![KeyToPath {
                key: key.to_owned(),
                path: path.to_owned(),
                mode: None,
            }]),
            optional: None,
        }),
        ..Volume::default()
    }
}

fn keyring(plan: &Plan) -> Volume {
    let own = names::keyring_secret(&plan.object.name);
    let (name, key) = match &plan.keyring {
        KeyringPlan::Given(reference) => (&reference.name, reference.key.as_str()),
        KeyringPlan::Create | KeyringPlan::Keep { .. } | KeyringPlan::Adopt { .. } => {
            (&own, names::KEYRING_KEY)
        }
    };
    secret(KEYRING, name, &[(key, paths::KEYRING)])
}

/// Returns the Secret that a Pod mounts as its keyring, and the key of it.
pub(in crate::controller) fn keyring_of(pod: &Pod) -> Option<KeyringSecretRef> {
    let mut volumes = pod.spec.as_ref()?.volumes.iter().flatten();
    let secret = volumes.find(|volume| volume.name == KEYRING)?.secret.as_ref()?;
    Some(KeyringSecretRef {
        name: secret.secret_name.clone()?,
        key: secret.items.as_ref()?.first()?.key.clone(),
    })
}

/// The user and the password for the session store.
fn store_credentials(reference: &RedisSecretRef) -> Volume {
    let username = reference
        .username_key
        .as_deref()
        .map(|key| (key, paths::STORE_USERNAME));
    let password = (reference.password_key.as_str(), paths::STORE_PASSWORD);
    let files: Vec<_> = username.into_iter().chain([password]).collect();
    secret(STORE_CREDENTIALS, &reference.name, &files)
}

/// Keys of a Secret as files with these paths.
fn secret(volume: &str, name: &str, files: &[(&str, &str)]) -> Volume {
    let items = files.iter().map(|(key, path)| KeyToPath {
        key: (*key).to_owned(),
        path: file_name(path).to_owned(),
        mode: None,
    });
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.to_owned()),
            default_mode: Some(READ_GROUP),
            items: Some(items.collect()),
            optional: None,
        }),
        ..Volume::default()
    }
}

/// An empty volume in memory, which is deleted with the Pod.
fn in_memory(volume: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity("1Mi".to_owned())),
        }),
        ..Volume::default()
    }
}

fn token(plan: &Plan, volume: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(READ_GROUP),
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(plan.entra.federation_audience.clone()),
                    expiration_seconds: Some(TOKEN_LIFETIME_SECONDS),
                    path: file_name(paths::FEDERATED_TOKEN).to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    }
}
