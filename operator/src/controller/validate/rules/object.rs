//! The rules for the object's own name, for names of other objects, and for the number of Pods.

use super::refuse;
use crate::api::crd::NAME_LENGTH;
use crate::api::v1alpha1::{McpServerSpec, StoreType};
use crate::controller::names;
use crate::controller::validate::Refusal;

/// Validates the object's name. Its Service has the same name, which must be a DNS label that starts with a letter, and
/// names of other children are longer.
pub(crate) fn name(name: &str, refusals: &mut Vec<Refusal>) {
    let label = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if name.len() > NAME_LENGTH || !label || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        refuse(
            refusals,
            "metadata.name",
            format!(
                "must have at most {NAME_LENGTH} characters, start with a letter and contain only a-z, 0-9 and -"
            ),
        );
    }
}

/// Validates the name of another object, which becomes a part of an API path. Returns whether it is valid.
pub(crate) fn object_name(field: &'static str, name: &str, refusals: &mut Vec<Refusal>) -> bool {
    let is_name = names::is_subdomain(name);
    if !is_name {
        refuse(
            refusals,
            field,
            "must be the name of an object: a-z, 0-9, - and ., starting and ending with a letter or digit",
        );
    }
    is_name
}

/// Validates the number of Pods. With the store `Memory`, a Pod does not know the sessions of another.
pub(crate) fn replicas(spec: &McpServerSpec, refusals: &mut Vec<Refusal>) {
    match (spec.replicas, spec.sessions.store.kind) {
        (Some(replicas), _) if replicas < 1 => {
            refuse(
                refusals,
                "replicas",
                "must be at least 1; use suspend to stop the Pods",
            );
        }
        (Some(replicas), StoreType::Memory) if replicas > 1 => refuse(
            refusals,
            "replicas",
            "must be 1 with sessions.store.type Memory: sessions live in one Pod's memory",
        ),
        _ => {}
    }
}
