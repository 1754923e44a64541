//! The tenant's signing keys.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;

/// Maximum number of keys that are read. Tenants publish fewer.
const MAX_KEYS: usize = 64;

/// A JSON Web Key Set (RFC 7517) as Entra publishes it. The keys carry no `alg`.
#[derive(Deserialize)]
pub(crate) struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    issuer: Option<String>,
}

/// The RSA keys that may sign this tenant's tokens, by `kid`.
pub(crate) struct SigningKeys(HashMap<String, DecodingKey>);

impl SigningKeys {
    /// Selects the RSA signing keys. A key that names an issuer must name this tenant's. Other keys are ignored:
    /// a new kind of key must not make the old ones unusable.
    pub(crate) fn new(set: JwkSet, tenant_id: &str, issuer: &str) -> Self {
        let usable = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| {
            let signs = key.kty == "RSA" && key.usage.as_deref().is_none_or(|usage| usage == "sig");
            let ours = key
                .issuer
                .is_none_or(|named| named.replace("{tenantid}", tenant_id) == issuer);
            if !signs || !ours {
                return None;
            }
            let decoding = DecodingKey::from_rsa_components(&key.n?, &key.e?).ok()?;
            Some((key.kid?, decoding))
        });
        Self(usable.collect())
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&DecodingKey> {
        self.0.get(kid)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://login.contoso.example/t/v2.0";

    fn keys(key: &Value) -> SigningKeys {
        let mut whole = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": "AQAB", "e": "AQAB"});
        for (name, value) in key.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let set = serde_json::from_value(json!({"keys": [whole]})).unwrap();
        SigningKeys::new(set, "t", ISSUER)
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"use": null}))]
    #[case(json!({"issuer": ISSUER}))]
    #[case(json!({"issuer": "https://login.contoso.example/{tenantid}/v2.0"}))]
    #[case(json!({"x5c": ["MIIC"], "x5t": "k", "cloud_instance_name": "contoso.example"}))]
    fn accepts_keys_without_alg(#[case] key: Value) {
        assert!(keys(&key).get("k").is_some());
    }

    #[rstest]
    #[case(json!({"kty": "EC"}))]
    #[case(json!({"kty": "oct", "k": "c2VjcmV0"}))]
    #[case(json!({"use": "enc"}))]
    #[case(json!({"kid": null}))]
    #[case(json!({"n": null}))]
    #[case(json!({"e": "!!"}))]
    #[case(json!({"issuer": "https://login.contoso.example/other/v2.0"}))]
    fn ignores_a_key_that_cannot_sign_for_this_tenant(#[case] key: Value) {
        assert!(keys(&key).is_empty());
    }
}
