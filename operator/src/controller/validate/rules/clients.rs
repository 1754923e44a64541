//! MCP clients.

use behalf_contract::redirect_uri;

use super::address::origin;
use super::refuse;
use crate::api::v1alpha1::StaticClient;
use crate::controller::validate::Refusal;

pub(crate) fn redirect_hosts(hosts: &[String], refusals: &mut Vec<Refusal>) {
    for host in hosts {
        if origin(&format!("https://{host}")).and_then(|url| url.host_str().map(|parsed| parsed == host))
            != Some(true)
        {
            refuse(
                refusals,
                "clients.allowedRedirectHosts",
                format!("must hold hosts alone, in lower case; {host:?} is none"),
            );
        }
    }
}

pub(crate) fn static_clients(clients: &[StaticClient], refusals: &mut Vec<Refusal>) {
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
            // The sidecar's own rule: it does not start with any other.
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
            }
        }
    }
}
