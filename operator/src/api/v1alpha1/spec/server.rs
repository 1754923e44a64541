use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LogLevel;
use super::pod::requirements;
use crate::api::v1alpha1::schema::{embedded, embedded_list, rule};

/// The MCP server. Exactly one kind of server must be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.azureDevOps)", "server must name exactly one kind of server: set server.azureDevOps"),
    rule(
        "!has(self.azureDevOps) || !has(self.env) || self.env.all(variable, !has(variable.valueFrom) || !has(variable.valueFrom.secretKeyRef))",
        "server.env must not read Secrets with server.azureDevOps: the built-in server needs none"
    ),
]))]
pub struct Server {
    /// The built-in server for Azure DevOps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_dev_ops: Option<AzureDevOps>,

    /// Environment variables of the server's container. Names that start with AZURE_ or BEHALF_ are
    /// reserved, no variable may read a Secret, as the built-in server needs none, and none may load code or
    /// send requests elsewhere: LD_*, GLIBC_*, MALLOC_*, *_PROXY and others that the C library obeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        schema_with = "embedded_list::<EnvVar>",
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = [rule(
                "self.all(variable, !variable.name.startsWith('AZURE_') && !variable.name.startsWith('BEHALF_'))",
                "server.env must not set names that start with AZURE_ or BEHALF_: they are set by the operator"
            )]
        )
    )]
    pub env: Vec<EnvVar>,

    /// Resources of the server's container.
    #[serde(default = "resources")]
    #[schemars(schema_with = "embedded::<ResourceRequirements>")]
    pub resources: ResourceRequirements,
}

fn resources() -> ResourceRequirements {
    requirements("50m", "64Mi", Some("256Mi"))
}

/// What to serve of Azure DevOps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureDevOps {
    /// The organization's name, as in <https://dev.azure.com/contoso>: contoso.
    #[schemars(
        length(min = 1, max = 50),
        regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$")
    )]
    pub organization: String,

    /// The projects that tools may touch. Empty: all that the signed-in user may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(length(min = 1, max = 64)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub projects: Vec<String>,

    /// Leaves out every tool that changes something.
    #[serde(default)]
    pub read_only: bool,

    /// The service's addresses. The installation says which hosts may be named (allowed.azureDevOpsHosts of the
    /// chart behalf); by default those of Azure DevOps Services.
    #[serde(default)]
    pub endpoints: AzureDevOpsEndpoints,

    /// How much the server logs.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// The addresses of Azure DevOps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AzureDevOpsEndpoints {
    /// Builds, pipelines, projects.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = endpoint_rules()))]
    pub core: String,

    /// Classic releases and deployments.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = endpoint_rules()))]
    pub release: String,

    /// Users and profiles.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = endpoint_rules()))]
    pub identity: String,
}

fn endpoint_rules() -> serde_json::Value {
    serde_json::Value::Array(vec![rule(
        "self.matches('^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?$')",
        "an endpoint must be https://<host>[:port] in lower case, without path or trailing slash",
    )])
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
