use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::rule;

/// The Entra application that users sign in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entra {
    /// The tenant's id, a GUID. Never a name, "common" or "organizations".
    #[schemars(length(max = 36), regex(pattern = GUID))]
    pub tenant_id: String,

    /// The application's (client) id, a GUID: of the app registration, never of a managed identity.
    #[schemars(length(max = 36), regex(pattern = GUID))]
    pub client_id: String,

    /// Where Entra is. All other addresses come from its discovery document. The installation says which hosts
    /// may be named (allowed.entraHosts of the chart behalf); by default those of the public and the national
    /// clouds.
    #[serde(default = "authority")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [rule(
        "self.matches('^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?$')",
        "entra.authority must be https://<host>[:port] in lower case, without path or trailing slash"
    )]))]
    pub authority: String,

    /// The scope of the user's token for this application. Absent: <clientId>/.default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[\x21-\x7e]+( [\x21-\x7e]+)*$")
    )]
    pub scope: Option<String>,

    /// A ConfigMap with certificate authorities (PEM) to trust beside the system's, for every outgoing call
    /// to Entra and to the downstream API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_ref: Option<CertificateAuthorityRef>,

    /// How Entra trusts this object's ServiceAccount.
    #[serde(default)]
    pub federation: Federation,
}

/// A DNS subdomain (RFC 1123), as Kubernetes names objects.
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

const GUID: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";

fn authority() -> String {
    "https://login.microsoftonline.com".to_owned()
}

/// A key of a ConfigMap in the object's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthorityRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// The key that holds the PEM bundle.
    #[serde(default = "certificate_authority_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn certificate_authority_key() -> String {
    "ca.crt".to_owned()
}

/// How Entra trusts this object's ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Federation {
    /// The audience of the projected ServiceAccount token; the federated identity credential names the same.
    /// It starts with api://, so that no token for the API server or for another cloud can be asked for.
    #[serde(default)]
    pub audience: Audience,

    /// An existing ServiceAccount to use instead of one made for this object and named like it. It is used,
    /// never changed and never deleted. Whoever owns it agrees with the annotation behalf.dev/mcp-servers on
    /// it, which lists the names of the McpServers that may use it, separated by commas. It must not be
    /// controlled by another object, nor stand in the operator's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = SUBDOMAIN)
    )]
    pub service_account_name: Option<String>,
}

/// The audience of a projected token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Audience(
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^api://[\x21-\x7e]+$"))]
    pub String,
);

impl Default for Audience {
    fn default() -> Self {
        Self("api://AzureADTokenExchange".to_owned())
    }
}
