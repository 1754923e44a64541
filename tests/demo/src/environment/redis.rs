//! Creates what `examples/high-availability` expects: the certificate of Redis, and a user for each server.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{EnvironmentError, NAMESPACE_SERVERS, Objects};
use behalf_local_cluster::files::checkout;
use behalf_simulators::certificates::CertificateAuthority;

/// The Secret with the certificate of Redis.
const TLS_SECRET: &str = "redis-tls";

/// Starts the Redis of the example with this image, with a user for each of these `McpServer`s.
pub async fn apply_redis(client: &Client, servers: &[&str], image: &str) -> Result<(), EnvironmentError> {
    ensure_credentials(client, servers).await?;
    let path = checkout().join("examples/high-availability/redis.yaml");
    let mut objects = Objects::from_yaml(&read(&path)?).map_err(|error| EnvironmentError::Manifest {
        path,
        problem: error.to_string(),
    })?;
    for object in objects
        .iter_mut()
        .filter(|object| object["kind"] == "StatefulSet")
    {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    }
    objects.apply(client).await
}

/// Creates the certificate and the users once. Nobody learns the passwords: the Secrets alone contain them.
pub(super) async fn ensure_credentials(client: &Client, servers: &[&str]) -> Result<(), EnvironmentError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE_SERVERS);
    let found = secrets
        .get_opt(TLS_SECRET)
        .await
        .map_err(EnvironmentError::api("read the certificate of Redis"))?;
    if found.is_some() {
        return Ok(());
    }
    let authority = CertificateAuthority::generate("Redis").map_err(EnvironmentError::Certificates)?;
    let names = [
        format!("redis.{NAMESPACE_SERVERS}.svc"),
        format!("redis.{NAMESPACE_SERVERS}.svc.cluster.local"),
    ];
    let identity = authority
        .issue(&names.each_ref().map(String::as_str))
        .map_err(EnvironmentError::Certificates)?;
    let mut users = "user default off ~* &* +@all\n".to_owned();
    let mut objects = Objects::default();
    for server in servers {
        let (password, rights) = (random_password()?, documented_rights(server)?);
        let _ = writeln!(users, "user {server} on >{password} {rights}");
        objects.add(secret(
            &format!("{server}-behalf-store"),
            &json!({"username": server, "password": password}),
        ));
    }
    objects
        .add(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "redis-ca", "namespace": NAMESPACE_SERVERS},
            "data": {"ca.crt": authority.certificate_pem()},
        }))
        .add(secret("redis-users", &json!({"users.acl": users})))
        // This object is created last. If it exists, all of them exist.
        .add(secret(
            TLS_SECRET,
            &json!({"tls.crt": identity.certificate_chain_pem, "tls.key": identity.private_key_pem}),
        ));
    objects.apply(client).await
}

fn secret(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE_SERVERS},
        "stringData": data,
    })
}

/// The rights of the user of one `McpServer`, as the documentation lists them.
fn documented_rights(object: &str) -> Result<String, EnvironmentError> {
    let page = checkout().join("docs/stores.md");
    rights(&read(&page)?, object).ok_or_else(|| EnvironmentError::Manifest {
        path: page,
        problem: "no line begins with ACL SETUSER behalf on >password".to_owned(),
    })
}

fn read(path: &Path) -> Result<String, EnvironmentError> {
    std::fs::read_to_string(path).map_err(|error| EnvironmentError::Manifest {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn rights(page: &str, object: &str) -> Option<String> {
    let mut lines = page.lines();
    let rights = lines.find_map(|line| line.strip_prefix("ACL SETUSER behalf on >password "))?;
    let documented = format!("behalf:{NAMESPACE_SERVERS}/azure-devops:");
    Some(rights.replace(&documented, &format!("behalf:{NAMESPACE_SERVERS}/{object}:")))
}

fn random_password() -> Result<String, EnvironmentError> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(EnvironmentError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_rights_are_those_of_the_object() {
        let rights = documented_rights("article").unwrap();
        assert!(
            rights.contains("~behalf:mcp/article:* ") && rights.contains(" -@all +"),
            "{rights}"
        );
        assert!(!rights.contains("azure-devops"), "{rights}");
    }
}
