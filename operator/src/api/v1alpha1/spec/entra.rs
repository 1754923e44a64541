//! The Entra application, and how Entra trusts the Pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{GUID, https_origin_rules, key_rule, matches, name_rule, scope_rule};

/// The Entra application that users sign in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entra {
    /// The id of the Entra tenant, a GUID. A domain name, "common" and "organizations" are refused.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [matches(
        &format!("^{GUID}$"),
        "entra.tenantId must be a GUID, the tenantId that az account show prints: no domain name, common or organizations"
    )]))]
    pub tenant_id: String,

    /// The application (client) id of the app registration, a GUID. The id of a managed identity does not work.
    #[schemars(length(max = 36), extend("x-kubernetes-validations" = [matches(
        &format!("^{GUID}$"),
        "entra.clientId must be a GUID, the appId that az ad app show prints"
    )]))]
    pub client_id: String,

    /// The origin of Entra. All other addresses come from its discovery document. The installation decides which hosts
    /// an object may name (allowed.entraHosts of the chart behalf).
    #[serde(default = "authority")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = https_origin_rules("entra.authority")))]
    pub authority: String,

    /// The scope of the user's token for this application. By default the client id followed by /.default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = [scope_rule()]))]
    pub scope: Option<String>,

    /// A ConfigMap with certificate authorities (PEM) that are trusted in addition to those of the system, for every call to
    /// Entra and to Azure DevOps. By default that of the installation, if it names one (certificateAuthority of the chart
    /// behalf).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_ref: Option<CertificateAuthorityRef>,

    /// How Entra trusts this object's ServiceAccount.
    #[serde(default)]
    pub federation: Federation,
}

fn authority() -> String {
    "https://login.microsoftonline.com".to_owned()
}

/// A key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthorityRef {
    /// Name of the ConfigMap, in the namespace of this object.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [name_rule()]))]
    pub name: String,

    /// The key that contains the PEM bundle.
    #[serde(default = "certificate_authority_key")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [key_rule("ca.crt")]))]
    pub key: String,
}

fn certificate_authority_key() -> String {
    "ca.crt".to_owned()
}

/// How Entra trusts this object's ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Federation {
    /// The audience of the Pods' ServiceAccount token. The federated identity credential must name the same audience.
    /// By default that of the cloud of entra.authority: api://AzureADTokenExchange, api://AzureADTokenExchangeUSGov for
    /// US Government, api://AzureADTokenExchangeChina for China. It must start with api://: neither the API server nor
    /// another cloud accepts such a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [matches(
        "^api://[!-~]+$",
        "entra.federation.audience must start with api:// and contain no spaces, as api://AzureADTokenExchange does"
    )]))]
    pub audience: Option<String>,

    /// An existing ServiceAccount of the namespace to use. By default the operator makes one with the name of this
    /// object. The operator never changes or deletes an existing one. Its owner must agree with the annotation
    /// behalf.dev/mcp-servers on it, which lists the names of the McpServers that may use it, separated by commas. It
    /// must not be controlled by another object, and must not be in the operator's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = [name_rule()]))]
    pub service_account_name: Option<String>,
}
