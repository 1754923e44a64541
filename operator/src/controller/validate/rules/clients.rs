//! The rules for MCP clients.

use behalf_contract::redirect_uri::{self, is_loopback, is_vendor, is_vendor_callback};
use behalf_contract::{DocumentUrl, is_registered_client_id, is_registered_client_label};
use url::Url;

use super::address::origin;
use super::entra::guid;
use super::installation_policy::{client_id, redirect_host};
use super::refuse;
use crate::api::v1alpha1::{EntraTokens, EntraTokensPolicy, StaticClient};
use crate::controller::validate::Refusal;
use crate::controller::validate::installation_policy::Allowed;

/// Validates the hosts that redirect URIs of registering clients may name.
pub(crate) fn redirect_hosts(hosts: &[String], allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    let field = "clients.additionalRedirectHosts";
    for host in hosts {
        // The sidecar accepts only the vendor's own callback on a vendor's host.
        if let Some(url) = host_only(field, host, refusals)
            && !is_vendor(&url)
        {
            redirect_host(field, &url, allowed, refusals);
        }
    }
}

/// Validates the hosts whose metadata documents the sidecar reads. The installation need not allow them: the sidecar sends a
/// GET request, and to a public address alone. The proxy gets names only of hosts that the installation lists.
pub(crate) fn document_hosts(hosts: &[String], refusals: &mut Vec<Refusal>) {
    for host in hosts {
        host_only("clients.metadataDocuments.allowedHosts", host, refusals);
    }
}

/// Validates the applications whose tokens are accepted as bearer. Returns their ids as Entra writes them, or none if the
/// policy is `Disabled`.
pub(crate) fn entra_tokens(
    tokens: &EntraTokens,
    application: &str,
    namespace: &str,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) -> Vec<String> {
    let field = "clients.entraTokens.clientIds";
    let mut ids = Vec::with_capacity(tokens.client_ids.len());
    for id in &tokens.client_ids {
        let Some(id) = guid(field, id, refusals) else {
            continue;
        };
        if id.eq_ignore_ascii_case(application) {
            refuse(
                refusals,
                field,
                "must not contain entra.clientId: the tokens of this server's own sessions would be accepted, which servers \
                 can have; remove it",
            );
        } else {
            client_id(field, &id, namespace, allowed, refusals);
        }
        ids.push(id);
    }
    match tokens.policy {
        EntraTokensPolicy::Disabled => ids.clear(),
        EntraTokensPolicy::Enabled if tokens.client_ids.is_empty() => {
            refuse(
                refusals,
                field,
                "must name at least one application while the policy is Enabled",
            );
        }
        EntraTokensPolicy::Enabled => {}
    }
    ids
}

/// Validates the clients that the administrator denies. An entry that matches no client would look like protection.
pub(crate) fn denied_clients(denied: &[String], listed: &[StaticClient], refusals: &mut Vec<Refusal>) {
    for entry in denied {
        let is_client = listed.iter().any(|client| client.client_id == *entry)
            || DocumentUrl::parse(entry).is_some()
            || is_registered_client_id(entry)
            || is_registered_client_label(entry)
            || is_deniable_host(entry);
        if !is_client {
            // A client id has up to 1 KiB. Its beginning is enough to find the entry.
            let shown: String = entry.chars().take(64).collect();
            refuse(
                refusals,
                "clients.denied",
                format!(
                    "must not contain {shown:?}, which matches no client; write the https address of a metadata document \
                     as the client sends it, a host in lower case without scheme, port and path (it includes its \
                     subdomains), an id from clients.static, or for a registered client the label registered:<16 digits> of the \
                     audit log, or the whole id, which the consent page shows under Details"
                ),
            );
        }
    }
}

/// True for a host of redirect URIs or documents. One label alone is a host only if it is `localhost`: a name without a
/// dot is more likely a misspelt id.
fn is_deniable_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_plain)
    };
    let is_name = text.contains('.') && text.split('.').all(is_label);
    let is_canonical = || origin(&format!("https://{text}")).is_some();
    matches!(text, "localhost" | "[::1]") || is_name && is_canonical()
}

/// Returns the https address of a host, which must be the name of a host and nothing else.
fn host_only(field: &'static str, host: &str, refusals: &mut Vec<Refusal>) -> Option<Url> {
    let url = origin(&format!("https://{host}")).filter(|url| url.host_str() == Some(host));
    if url.is_none() {
        let problem =
            format!("must contain hosts without scheme, port and path, in lower case; {host:?} is none");
        refuse(refusals, field, problem);
    }
    url
}

/// Validates the https redirect URIs of a client that the object registers. The sidecar sends authorization
/// codes to them, so each must be a known vendor's callback or on a host that the installation allows.
pub(crate) fn static_clients(clients: &[StaticClient], allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    for (index, client) in clients.iter().enumerate() {
        if clients
            .iter()
            .take(index)
            .any(|other| other.client_id == client.client_id)
        {
            refuse(
                refusals,
                "clients.static",
                format!("must not name the client {:?} twice", client.client_id),
            );
        }
        for uri in &client.redirect_uris {
            // The sidecar has the same rule, and does not start with another URI.
            if let Err(problem) = redirect_uri::check_static(uri) {
                refuse(
                    refusals,
                    "clients.static",
                    format!(
                        "must have redirect URIs with https, or http on 127.0.0.1, [::1] or localhost, as the URL standard \
                         writes them; {uri:?} of {:?} {problem}",
                        client.client_id
                    ),
                );
                continue;
            }
            if let Ok(url) = Url::parse(uri)
                && url.scheme() == "https"
                && !is_loopback(&url)
                && !is_vendor_callback(&url)
            {
                redirect_host("clients.static", &url, allowed, refusals);
            }
        }
    }
}
