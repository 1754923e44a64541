//! The rules for the built-in server and its container.

use k8s_openapi::api::core::v1::EnvVar;

use super::refuse;
use crate::controller::validate::Refusal;

/// Validates the name of the organization.
pub(crate) fn organization(name: &str, refusals: &mut Vec<Refusal>) {
    let characters = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || name.len() > 50 || !characters || name.starts_with('-') || name.ends_with('-') {
        refuse(
            refusals,
            "server.azureDevOps.organization",
            "must be the organization's name without an address, as in https://dev.azure.com/<name>: letters, digits and hyphens",
        );
    }
}

/// Validates names of projects. The server has the same rule for names that a model sends, because a name must not change
/// the path of the address that it is put into.
pub(crate) fn projects(projects: &[String], refusals: &mut Vec<Refusal>) {
    // https://learn.microsoft.com/azure/devops/organizations/settings/naming-restrictions
    let reserved = |character: char| character.is_control() || r#"\/:*?"<>|#"#.contains(character);
    for project in projects {
        if project.is_empty()
            || project.chars().count() > 64
            || project.contains(reserved)
            || project.starts_with(['.', '_'])
            || project.ends_with('.')
        {
            refuse(
                refusals,
                "server.azureDevOps.projects",
                format!("must contain names or ids of projects; {project:?} is neither"),
            );
        }
    }
}

/// Returns whether a variable makes code of a `ConfigMap`'s content, or redirects requests that are meant for Entra or Azure
/// DevOps: the names that glibc itself ignores in privileged programs (its `unsecvars.h`), and proxies.
fn takes_over(name: &str) -> bool {
    const GLIBC: [&str; 9] = [
        "GCONV_PATH",
        "GETCONF_DIR",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
    ];
    GLIBC.contains(&name)
        || name.starts_with("LD_")
        || name.starts_with("GLIBC_")
        || name.starts_with("MALLOC_")
        || name.to_ascii_uppercase().ends_with("_PROXY")
}

/// Refuses a variable that replaces one of the operator's, and a variable that reads a Secret. Otherwise a
/// user who can write objects could read every Secret of the namespace.
pub(crate) fn environment(env: &[EnvVar], refusals: &mut Vec<Refusal>) {
    for variable in env {
        if variable.name.starts_with("AZURE_") || variable.name.starts_with("BEHALF_") {
            refuse(
                refusals,
                "server.env",
                format!(
                    "must not set {}: the operator sets names that start with AZURE_ or BEHALF_",
                    variable.name
                ),
            );
        }
        if takes_over(&variable.name) {
            refuse(
                refusals,
                "server.env",
                format!(
                    "must not set {}: it decides which code the server runs or where it sends tokens",
                    variable.name
                ),
            );
        }
        let secret = variable
            .value_from
            .as_ref()
            .and_then(|source| source.secret_key_ref.as_ref());
        if secret.is_some() {
            refuse(
                refusals,
                "server.env",
                format!(
                    "must not read a Secret for {}: an author of McpServers could read every Secret of the namespace; use \
                     configMapKeyRef",
                    variable.name
                ),
            );
        }
    }
}
