//! The files that the operator mounts into the sidecar: keyring and configuration.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use behalf_contract::SidecarConfig;
use behalf_simulators::people::{CLIENT_ID, TENANT_ID};
use serde_json::json;
use url::Url;

/// Returns a keyring file. Each id has its own key. The number in the id is the day on which the key was made.
pub(crate) fn keyring(sealing: &str, ids: &[&str]) -> String {
    keyring_with_clients((sealing, ids), ("c9", &["c9"]))
}

/// As [`keyring`], with these keys of registered clients: the one that seals, and all.
pub(crate) fn keyring_with_clients(sessions: (&str, &[&str]), clients: (&str, &[&str])) -> String {
    let key = |id: &str| {
        let number: u8 = id.trim_start_matches(char::is_alphabetic).parse().unwrap();
        let created_at = format!("2026-01-{number:02}T00:00:00Z");
        json!({"id": id, "material": STANDARD.encode([number; 32]), "createdAt": created_at})
    };
    let keys = |(sealing, ids): (&str, &[&str])| {
        let keys: Vec<_> = ids.iter().map(|id| key(id)).collect();
        json!({"sealing": sealing, "keys": keys})
    };
    json!({"sessions": keys(sessions), "clients": keys(clients)}).to_string()
}

/// Returns the configuration of a sidecar at `base`, as the operator writes it.
pub(crate) fn config(base: &Url, authority: &Url, keyring_file: &Path) -> SidecarConfig {
    let config = json!({
        "object": {"namespace": "mcp", "name": "azure-devops"},
        "publicUrl": base,
        "entra": {
            "tenantId": TENANT_ID,
            "clientId": CLIENT_ID,
            "authority": authority,
            "scope": format!("{CLIENT_ID}/.default"),
            "federationAudience": "api://AzureADTokenExchange",
        },
        "upstream": "http://127.0.0.1:3000/mcp",
        "access": {"server": {"type": "AzureDevOps", "organization": "contoso"},
            "readOnlyTools": ["list"], "writes": true},
        "tokenExchange": {"at": "Sidecar", "injection": "Header",
            "scope": "499b84ac-1321-427f-aa17-267ca6975798/.default"},
        "sessions": {
            "accessTokenLifetimeSeconds": 3600,
            "idleLifetimeSeconds": 14 * 24 * 3600,
            "maximumLifetimeSeconds": 90 * 24 * 3600,
            "refreshGraceSeconds": 120,
            "store": {"type": "Memory"},
        },
        "clients": {"dynamicRegistration": "Enabled",
            "metadataDocuments": {"policy": "Enabled", "allowedHosts": []}, "vendorRedirects": "Enabled", "additionalRedirectHosts": [], "static": [
            {"clientId": "ci", "displayName": "CI", "redirectUris": ["https://ci.contoso.example/cb"]},
        ], "denied": [], "consent": "Always"},
        "listen": {"public": "127.0.0.1:0", "internal": "127.0.0.1:0"},
        "keyringFile": keyring_file,
        "revocationsFile": keyring_file.with_file_name("revocations.json"),
        "adminSocket": keyring_file.with_file_name("admin.sock"),
        "hostKeyFile": "/nowhere",
        "terminationGracePeriodSeconds": 60,
    });
    serde_json::from_value(config).unwrap()
}
