//! Which MCP clients may sign users in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which MCP clients may sign users in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// Whether clients may register themselves (RFC 7591). Enabled: the registration endpoint is advertised and
    /// answers. Disabled: there is no registration endpoint. Every sign-in shows the user a consent page with the
    /// client's name and the host of its redirect URI.
    #[serde(default)]
    pub dynamic_registration: DynamicRegistration,

    /// Whether registering clients may use the https callbacks of well-known MCP clients. Enabled: the callbacks of VS
    /// Code, Claude, ChatGPT and Cursor. Disabled: a callback only if additionalRedirectHosts contains its host.
    #[serde(default)]
    pub vendor_redirects: VendorRedirects,

    /// Hosts that https redirect URIs of registering clients may name, in addition to the callbacks of well-known MCP
    /// clients. Loopback addresses are always allowed. The installation must allow each host (allowed.redirectHosts of
    /// the chart behalf).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub additional_redirect_hosts: Vec<String>,

    /// Clients that need no registration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["clientId"])
    )]
    pub r#static: Vec<StaticClient>,
}

/// Whether clients may register themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DynamicRegistration {
    /// The registration endpoint answers and is advertised.
    #[default]
    Enabled,

    /// There is no registration endpoint.
    Disabled,
}

/// Whether registering clients may use the https callbacks of well-known MCP clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum VendorRedirects {
    /// The callbacks of VS Code, Claude, ChatGPT and Cursor are allowed.
    #[default]
    Enabled,

    /// A callback is allowed only if additionalRedirectHosts contains its host.
    Disabled,
}

/// A client that needs no registration, because the spec lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticClient {
    /// The id that the client sends, for example ci.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub client_id: String,

    /// The name that the consent page shows.
    #[schemars(length(min = 1, max = 64))]
    pub display_name: String,

    /// The exact redirect URIs: http on a loopback host, the https callback of a well-known MCP client, or https at a
    /// host that the installation allows (allowed.redirectHosts of the chart behalf).
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 512)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub redirect_uris: Vec<String>,
}
