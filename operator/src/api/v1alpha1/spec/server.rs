//! The MCP server's container, and the settings of the built-in server.

use k8s_openapi::api::core::v1::EnvVar;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::defaults::is_default;
use super::{Container, LogLevel, Resources};
use crate::api::v1alpha1::schema::{embedded_list, https_origin_rules, matches, rule};

/// The MCP server. Exactly one kind of server must be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.azureDevOps) != has(self.container)",
        "server must name exactly one kind of server: set server.azureDevOps or server.container",
    ),
]))]
pub struct Server {
    /// The built-in server for Azure DevOps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_dev_ops: Option<AzureDevOps>,

    /// An MCP server from an image of your own. It must serve MCP over Streamable HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,

    /// Environment variables of the server's container. Names that start with AZURE_ or BEHALF_ are reserved for the
    /// operator. LD_*, GLIBC_*, MALLOC_*, *_PROXY and other names that the C library obeys are refused, because they
    /// decide which code the server runs or where it sends tokens. A variable cannot read a Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "environment")]
    pub env: Vec<EnvVar>,

    /// Requests and limits of the server's container. The operator sets defaults for cpu and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
}

/// Names of variables with which the content of a `ConfigMap` becomes code, or with which another host gets what is
/// meant for Azure DevOps: the names that glibc ignores in privileged programs (its `unsecvars.h`), and proxies.
/// `validate/rules/server.rs` has the same rule.
const TAKES_OVER: &str = "^(LD_|GLIBC_|MALLOC_)|(?i:_PROXY)$|\
     ^(GCONV_PATH|GETCONF_DIR|HOSTALIASES|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS)$";

/// Returns the schema of Kubernetes for a list of variables, without Secrets and with the rules for names.
fn environment(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded_list::<EnvVar>(generator);
    let sources = schema.pointer_mut("/items/properties/valueFrom/properties");
    if let Some(sources) = sources.and_then(serde_json::Value::as_object_mut) {
        sources.retain(|source, _| {
            ["configMapKeyRef", "fieldRef", "resourceFieldRef"].contains(&source.as_str())
        });
    }
    let name = schema.pointer_mut("/items/properties/name");
    if let Some(name) = name.and_then(serde_json::Value::as_object_mut) {
        name.insert("minLength".to_owned(), 1.into());
        name.insert("maxLength".to_owned(), 253.into());
        let rules = vec![matches(
            "^[-._a-zA-Z][-._a-zA-Z0-9]*$",
            "must be the name of an environment variable: letters, digits, _, - and ., not starting with a digit",
        )];
        name.insert("x-kubernetes-validations".to_owned(), rules.into());
    }
    let rules = [
        rule(
            "self.all(variable, !variable.name.startsWith('AZURE_') && !variable.name.startsWith('BEHALF_'))",
            "server.env must not set names that start with AZURE_ or BEHALF_: they are set by the operator",
        ),
        rule(
            &format!("self.all(variable, !variable.name.matches('{TAKES_OVER}'))"),
            "server.env must not set LD_*, GLIBC_*, MALLOC_*, *_PROXY or another name that the C library obeys: it decides \
             which code the server runs or where it sends tokens",
        ),
        rule(
            "self.all(variable, !has(variable.valueFrom) || (!has(variable.value) && \
             [has(variable.valueFrom.configMapKeyRef), has(variable.valueFrom.fieldRef), \
             has(variable.valueFrom.resourceFieldRef)].exists_one(source, source)))",
            "valueFrom in server.env must name exactly one of configMapKeyRef, fieldRef and resourceFieldRef, and excludes value",
        ),
    ];
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert(
        "x-kubernetes-list-map-keys".to_owned(),
        serde_json::json!(["name"]),
    );
    schema.insert("x-kubernetes-validations".to_owned(), rules.to_vec().into());
    schema
}

/// Matches a text that cannot be the name of a project. `validate/rules/server.rs` has the same rule.
/// <https://learn.microsoft.com/azure/devops/organizations/settings/naming-restrictions>
const NO_PROJECT: &str = r#"[\p{Cc}\\/:*?"<>|#]|^[._]|[.]$"#;

/// Which organization and projects the built-in server serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureDevOps {
    /// The name of the Azure DevOps organization, for example contoso in <https://dev.azure.com/contoso>.
    #[schemars(length(min = 1, max = 50), extend("x-kubernetes-validations" = [matches(
        "^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$",
        "server.azureDevOps.organization must be the organization's name without an address, contoso for https://dev.azure.com/contoso: \
         letters, digits and hyphens"
    )]))]
    pub organization: String,

    /// The projects that tools may read and change, by name or id. If empty, all projects that the signed-in user may
    /// see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(length(min = 1, max = 64)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [rule(
            &format!("self.all(project, !project.matches(r'{NO_PROJECT}'))"),
            "server.azureDevOps.projects must contain names or ids of projects: names have no control characters, none of \
             \\ / : * ? \" < > | #, no . or _ at the start and no . at the end"
        )])
    )]
    pub projects: Vec<String>,

    /// True leaves out the tools that change something.
    #[serde(default)]
    pub read_only: bool,

    /// The groups of tools that the server offers, by default all. Pipelines: list_pipeline_runs, get_run_failure_logs and
    /// trigger_pipeline_run. Releases: list_deployments, for classic releases. With readOnly the tools of these groups that
    /// change something are left out. If no tool changes something, clients cannot request the scope mcp:run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend(
        "x-kubernetes-list-type" = "set",
        "x-kubernetes-validations" = [rule(
            "size(self) > 0",
            "server.azureDevOps.toolsets must name Pipelines or Releases, or both: remove the field to offer all tools",
        )]
    ))]
    pub toolsets: Vec<Toolset>,

    /// The addresses of Azure DevOps. The installation decides which hosts an object may name (allowed.azureDevOpsHosts
    /// of the chart behalf).
    #[serde(default)]
    pub endpoints: AzureDevOpsEndpoints,

    /// How much the built-in server logs. Error: failures that an administrator must act on. Warn: also failures that it
    /// recovered from. Info: also important events. Debug: also each decision. Trace: also each step. No level logs a
    /// token.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// A group of tools of the built-in server. Pipelines: pipelines, their runs and logs. Releases: classic releases and their
/// deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Toolset {
    /// Pipelines, their runs and logs: list_pipeline_runs, get_run_failure_logs and trigger_pipeline_run.
    Pipelines,

    /// Classic releases and their deployments: list_deployments.
    Releases,
}

/// The addresses of Azure DevOps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AzureDevOpsEndpoints {
    /// The origin of the API for projects, pipelines, builds and their logs.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = https_origin_rules("an endpoint")))]
    pub core: String,

    /// The origin of the API for classic releases and their deployments.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = https_origin_rules("an endpoint")))]
    pub release: String,

    /// The origin of the API for users and profiles.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = https_origin_rules("an endpoint")))]
    pub identity: String,
}

impl Default for AzureDevOpsEndpoints {
    fn default() -> Self {
        Self {
            core: "https://dev.azure.com".to_owned(),
            release: "https://vsrm.dev.azure.com".to_owned(),
            identity: "https://vssps.dev.azure.com".to_owned(),
        }
    }
}
