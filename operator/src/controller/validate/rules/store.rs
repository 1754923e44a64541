//! The rules for the session store.

use behalf_contract::{RedisAuthentication, RedisConfig, StoreConfig, paths};
use url::Url;

use super::{client_id, guid, object_name, refuse};
use crate::api::v1alpha1::{
    CREDENTIALS_SUFFIX, Redis, RedisAuth, RedisAuthType, RedisSecretRef, RedisTopology, Store, StoreType,
};
use crate::controller::validate::Refusal;
use crate::controller::validate::installation_policy::Allowed;

/// Returns the configuration of the store.
pub(crate) fn store(
    store: &Store,
    namespace: &str,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) -> Option<StoreConfig> {
    match (store.kind, &store.redis) {
        (StoreType::Memory, None) => Some(StoreConfig::Memory),
        (StoreType::Redis, Some(settings)) => {
            redis(settings, namespace, allowed, refusals).map(StoreConfig::Redis)
        }
        _ => {
            refuse(
                refusals,
                "sessions.store.redis",
                "must be set with sessions.store.type Redis, and only then",
            );
            None
        }
    }
}

fn redis(
    redis: &Redis,
    namespace: &str,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) -> Option<RedisConfig> {
    let endpoints = endpoints(redis, refusals);
    let authentication = authentication(&redis.auth, namespace, allowed, refusals);
    Some(RedisConfig {
        topology: match redis.topology {
            RedisTopology::Standalone => behalf_contract::RedisTopology::Standalone,
            RedisTopology::Cluster => behalf_contract::RedisTopology::Cluster,
        },
        endpoints: endpoints?,
        authentication: authentication?,
        certificate_authority_file: redis
            .certificate_authority_ref
            .as_ref()
            .map(|_| paths::STORE_CERTIFICATE_AUTHORITY.into()),
    })
}

const ENDPOINTS: &str = "sessions.store.redis.endpoints";

fn endpoints(redis: &Redis, refusals: &mut Vec<Refusal>) -> Option<Vec<Url>> {
    let before = refusals.len();
    let endpoints: Option<Vec<Url>> = redis.endpoints.iter().map(|text| endpoint(text)).collect();
    let Some(endpoints) = endpoints else {
        refuse(
            refusals,
            ENDPOINTS,
            "must be redis://<host>:<port> or rediss://<host>:<port> in lower case, without user, password or path",
        );
        return None;
    };
    let first = endpoints.first().map(Url::scheme);
    if endpoints.iter().any(|endpoint| Some(endpoint.scheme()) != first) {
        refuse(
            refusals,
            ENDPOINTS,
            "must use TLS (rediss://) for all nodes or for none",
        );
    }
    if redis.auth.kind == RedisAuthType::Entra && first == Some("redis") {
        refuse(
            refusals,
            ENDPOINTS,
            "must use TLS (rediss://) with auth.type Entra: the token would cross the network readable",
        );
    }
    match (redis.topology, endpoints.len()) {
        (_, 0) => refuse(refusals, ENDPOINTS, "must name at least one address"),
        (RedisTopology::Standalone, 2..) => refuse(
            refusals,
            ENDPOINTS,
            "must name exactly one address with topology Standalone",
        ),
        _ => {}
    }
    (refusals.len() == before).then_some(endpoints)
}

/// Returns the URL if `text` is nothing but scheme, host and port. The crate `url` checks hosts of `redis` for less than
/// those of `https`.
fn endpoint(text: &str) -> Option<Url> {
    let rest = text
        .strip_prefix("redis://")
        .or_else(|| text.strip_prefix("rediss://"))?;
    let url = Url::parse(text).ok()?;
    let (host, port) = (url.host_str()?, url.port()?);
    let is_host = host.starts_with('[')
        || host
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    (is_host && port != 0 && rest == format!("{host}:{port}")).then_some(url)
}

/// The scope of tokens that Azure Managed Redis and Azure Cache for Redis accept.
/// <https://learn.microsoft.com/azure/redis/entra-for-authentication>
const SCOPE: &str = "https://redis.azure.com/.default";

fn authentication(
    auth: &RedisAuth,
    namespace: &str,
    allowed: &Allowed,
    refusals: &mut Vec<Refusal>,
) -> Option<RedisAuthentication> {
    if auth.entra.is_some() && auth.kind != RedisAuthType::Entra {
        refuse(
            refusals,
            "sessions.store.redis.auth.entra",
            "must be set with sessions.store.redis.auth.type Entra only",
        );
    }
    match (auth.kind, &auth.secret) {
        (RedisAuthType::None, None) => Some(RedisAuthentication::None),
        (RedisAuthType::Entra, None) => {
            let named = auth.entra.as_ref().and_then(|entra| entra.client_id.as_deref());
            let client_id = match named {
                Some(id) => Some(application(id, namespace, allowed, refusals)?),
                None => None,
            };
            Some(RedisAuthentication::Entra {
                client_id,
                scope: SCOPE.to_owned(),
            })
        }
        (RedisAuthType::Secret, Some(secret)) => credentials(&secret.secret_ref, refusals),
        _ => {
            refuse(
                refusals,
                "sessions.store.redis.auth.secret",
                "must be set with sessions.store.redis.auth.type Secret, and only then",
            );
            None
        }
    }
}

/// Validates an application beside that of `entra`. It may be reserved for other namespaces in the same way.
fn application(id: &str, namespace: &str, allowed: &Allowed, refusals: &mut Vec<Refusal>) -> Option<String> {
    const CLIENT_ID: &str = "sessions.store.redis.auth.entra.clientId";
    let id = guid(CLIENT_ID, id, refusals)?;
    client_id(CLIENT_ID, &id, namespace, allowed, refusals);
    Some(id)
}

/// Validates the name of the Secret. The Pods send its content to an address that the author of the object chooses, so the
/// author of the Secret must have agreed. The name says so, because neither the operator nor an admission policy needs to
/// read the Secret then.
fn credentials(secret: &RedisSecretRef, refusals: &mut Vec<Refusal>) -> Option<RedisAuthentication> {
    const NAME: &str = "sessions.store.redis.auth.secret.secretRef.name";
    if !object_name(NAME, &secret.name, refusals) {
        return None;
    }
    if !secret.name.ends_with(CREDENTIALS_SUFFIX) {
        refuse(
            refusals,
            NAME,
            format!(
                "must end in {CREDENTIALS_SUFFIX}: with this name the author of the Secret allows it for McpServers"
            ),
        );
        return None;
    }
    Some(RedisAuthentication::Secret {
        username_file: secret.username_key.as_ref().map(|_| paths::STORE_USERNAME.into()),
        password_file: paths::STORE_PASSWORD.into(),
    })
}
