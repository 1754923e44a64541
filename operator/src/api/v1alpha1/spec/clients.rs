//! Which MCP clients may sign users in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{GUID, SUBDOMAIN, matches, rule};

/// The forms of `denied` beside the ids of `static`: a document, a host, and the label and the whole id of a registered client. It
/// refuses nothing that `validate/rules/clients.rs` accepts.
const DENIED: &str = "^(https://[^/?#@:A-Z[:space:]]*[^/?#@:A-Z.[:space:]]/[^?#[:space:]]+|[a-z0-9-]+([.][a-z0-9-]+)+|localhost|[[]::1[]]|\
     registered:[0-9a-f]{16}|bhi1[.][A-Za-z0-9]+[.][A-Za-z0-9_-]{96,})$";

/// The forms of a redirect URI of `static`. It refuses nothing that `validate/rules/clients.rs` accepts.
fn static_redirect_uri() -> String {
    const HTTPS_HOST: &str = "([[][0-9a-f:.]+[]]|[^/?#@:A-Z]+)";
    const LOOPBACK: &str = "(127[.]0[.]0[.]1|[[]::1[]]|localhost)";
    // A client of a loopback address may use any port: 0 stands for it.
    const PORT: &str = "(:(0|[1-9][0-9]{0,4}))?";
    const PATH: &str = "(/[^#]*)?";
    format!("^(https://{HTTPS_HOST}{PORT}{PATH}|http://{LOOPBACK}{PORT}{PATH}|(cursor|warp)://[^?#]+)$")
}

/// The default ports of a redirect URI, and ports that do not exist.
const WRONG_PORT: &str = "^(https://[^/]*:443|http://[^/]*:80|\
     https?://[^/]*:(6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}))(/|$)";

/// Returns the rule for a list of hosts.
fn hosts_rule(field: &str) -> serde_json::Value {
    rule(
        &format!("self.all(host, host.matches(r'^{SUBDOMAIN}$'))"),
        &format!(
            "{field} must contain hosts in lower case without scheme, port and path, for example agents.contoso.example"
        ),
    )
}

/// Which MCP clients may sign users in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    &format!(
        "!has(self.denied) || self.denied.all(entry, entry.matches('{DENIED}') || \
         (has(self.static) && self.static.exists(client, client.clientId == entry)))"
    ),
    "clients.denied must contain https addresses of metadata documents without port and query, hosts in lower case without scheme, \
     port and path, ids of clients.static, labels registered:<16 digits>, or whole ids of registered clients: anything else \
     matches no client",
)]))]
pub struct Clients {
    /// Whether clients may register themselves (RFC 7591). Enabled: the registration endpoint is advertised and
    /// answers. Disabled: there is no registration endpoint. Every sign-in shows the user a consent page with the
    /// client's name and the host of its redirect URI.
    #[serde(default)]
    pub dynamic_registration: DynamicRegistration,

    /// Clients whose id is the https address of a document that describes them (Client ID Metadata Documents).
    #[serde(default)]
    pub metadata_documents: MetadataDocuments,

    /// Whether registering clients may use the callbacks of well-known MCP clients. Enabled: the callbacks of VS Code,
    /// Claude, ChatGPT, Cursor, Copilot Studio, Postman and Warp. Disabled: an https callback only if
    /// additionalRedirectHosts contains its host, and none with a scheme of its own.
    #[serde(default)]
    pub vendor_redirects: VendorRedirects,

    /// Hosts that https redirect URIs of registering clients may name, in addition to the callbacks of well-known MCP
    /// clients. Loopback addresses are always allowed. The installation must allow each host (allowed.redirectHosts of
    /// the chart behalf).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [hosts_rule("clients.additionalRedirectHosts")])
    )]
    pub additional_redirect_hosts: Vec<String>,

    /// Clients that need no registration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["clientId"])
    )]
    pub r#static: Vec<StaticClient>,

    /// Clients that are refused at registration, login, token endpoint and calls; their next call or refresh ends the
    /// session. An entry is the https address of a metadata document, a host (it includes its subdomains, and denies
    /// the metadata documents there and the clients that registered a redirect URI there), a clientId of static, or for
    /// a registered client its label in the audit log and in the list of sessions (registered: and 16 digits) or its whole
    /// id, which the consent page shows under Details.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 1024)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub denied: Vec<String>,

    /// Always (default): each login shows the consent page. Remember: the browser remembers a user's approval of a client,
    /// redirect URI and scopes for 30 days, if the client is static or has a metadata document and its redirect URI does not
    /// lead to a program on the user's computer.
    #[serde(default)]
    pub consent: Consent,

    /// Entra user tokens for this application as bearer, without a login at this server.
    #[serde(default)]
    pub entra_tokens: EntraTokens,
}

/// Entra user tokens for this application as bearer, without a login at this server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "!has(self.policy) || self.policy != 'Enabled' || (has(self.clientIds) && size(self.clientIds) > 0)",
    "clients.entraTokens.clientIds must name at least one application while the policy is Enabled: add the client id that Entra \
     writes into azp, or set the policy to Disabled",
)]))]
pub struct EntraTokens {
    /// Enabled: an application of clientIds that holds the user's Entra token for this application may call with it.
    /// Disabled: only this server's own access tokens are accepted.
    #[serde(default)]
    pub policy: EntraTokensPolicy,

    /// The applications whose tokens are accepted: the client ids that Entra writes into azp. They need no consent page.
    /// Must not contain entra.clientId. Where the installation reserves applications for namespaces (namespaces of the
    /// chart behalf), only those that this namespace may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 36)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [rule(
            &format!("self.all(id, id.matches('^{GUID}$'))"),
            "clients.entraTokens.clientIds must contain GUIDs, the appId of each application that az ad app show prints"
        )])
    )]
    pub client_ids: Vec<String>,
}

/// Whether Entra user tokens for this application are accepted as bearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum EntraTokensPolicy {
    /// Those of the listed applications are accepted.
    Enabled,

    /// Only this server's own access tokens are accepted.
    #[default]
    Disabled,
}

/// How often a user is asked to approve a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Consent {
    /// At each login.
    #[default]
    Always,

    /// Once in 30 days.
    Remember,
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

/// Clients whose id is the https address of a document that describes them (Client ID Metadata Documents).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataDocuments {
    /// Whether such clients are accepted. Enabled: the sidecar reads a document when a user begins a login. The Pods
    /// must reach the document's host on port 443. Disabled: clients register themselves, if dynamicRegistration
    /// allows it.
    #[serde(default)]
    pub policy: MetadataDocumentsPolicy,

    /// The hosts whose documents are read, for example vscode.dev. Empty means every public host. Only public addresses of a
    /// host are reached, unless the installation has a proxy and lists the host (allowed.documentHosts of the chart
    /// behalf). Redirect URIs of a document have the same rules as those of a client that registers itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [hosts_rule("clients.metadataDocuments.allowedHosts")])
    )]
    pub allowed_hosts: Vec<String>,
}

/// Whether clients may use the address of a metadata document as their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum MetadataDocumentsPolicy {
    /// Documents are read, and clients learn that from the metadata.
    #[default]
    Enabled,

    /// An address is an unknown client id.
    Disabled,
}

/// Whether registering clients may use the callbacks of well-known MCP clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum VendorRedirects {
    /// Each vendor's callback is allowed.
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
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-validations" = [matches(
        "^[A-Za-z0-9._-]+$",
        "must be an id of letters, digits, ., _ and -, for example ci"
    )]))]
    pub client_id: String,

    /// The name that the consent page shows.
    #[schemars(length(min = 1, max = 64))]
    pub display_name: String,

    /// The exact redirect URIs: http on a loopback host, the https callback of a well-known MCP client, or https at a
    /// host that the installation allows (allowed.redirectHosts of the chart behalf).
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 512)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [
            rule(
                &format!("self.all(uri, uri.matches('{}'))", static_redirect_uri()),
                "redirectUris in clients.static must be https://<host>/<path> with the host in lower case, or http on 127.0.0.1, [::1] or \
                 localhost, without user and fragment",
            ),
            rule(
                &format!("self.all(uri, !uri.matches('{WRONG_PORT}'))"),
                "redirectUris in clients.static must leave out the default port of their scheme, :443 of https and :80 of http, and have no \
                 port above 65535",
            ),
        ])
    )]
    pub redirect_uris: Vec<String>,
}
