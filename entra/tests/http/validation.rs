//! Signature and keys. The claims have their own table beside the code.

use std::sync::LazyLock;
use std::time::Duration;

use behalf_entra::{Secret, TokenRejection, TokenRules, TokenValidator};
use behalf_simulators::keys::RSA;
use jiff::SignedDuration;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

use crate::entra::{CLIENT, Entra, TENANT, discovery};

static ONE: LazyLock<EncodingKey> = LazyLock::new(|| key(RSA[0]));
static TWO: LazyLock<EncodingKey> = LazyLock::new(|| key(RSA[1]));

fn key(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

/// As Entra publishes it: without `alg`.
fn published(kid: &str, key: &EncodingKey) -> Value {
    let jwk = serde_json::to_value(Jwk::from_encoding_key(key, Algorithm::RS256).unwrap()).unwrap();
    json!({"kty": "RSA", "use": "sig", "kid": kid, "n": jwk["n"], "e": jwk["e"]})
}

impl Entra {
    async fn publish_keys(&self, keys: Value, times: u64) {
        let answer = ResponseTemplate::new(200).set_body_json(json!({"keys": keys}));
        let mock = Mock::given(path(format!("/{TENANT}/discovery/v2.0/keys"))).respond_with(answer);
        mock.up_to_n_times(times).mount(&self.server).await;
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer(), "aud": CLIENT, "tid": TENANT, "ver": "2.0",
            "nbf": 1_793_600_000, "exp": 1_793_700_000, "scp": "access_as_user", "oid": "ana", "nonce": "n1",
        })
    }

    fn token(&self, kid: &str, key: &EncodingKey) -> Secret {
        let header = Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::RS256)
        };
        Secret::new(jsonwebtoken::encode(&header, &self.claims(), key).unwrap())
    }

    fn validator(&self) -> TokenValidator {
        TokenValidator::new(self.client.clone(), TokenRules::default())
    }
}

#[tokio::test]
async fn accepts_a_token_that_the_tenant_signed() {
    let entra = Entra::start().await;
    entra.publish_keys(json!([published("k1", &ONE)]), 1).await;
    let validator = entra.validator();
    let token = entra.token("k1", &ONE);
    assert_eq!(validator.validate(&token).await.unwrap().oid, "ana");
    assert_eq!(
        validator.validate_id_token(&token, "n1").await.unwrap().oid,
        "ana"
    );
    assert_eq!(entra.count("/keys").await, 1);
}

#[tokio::test]
async fn refuses_right_claims_signed_by_another_key() {
    let entra = Entra::start().await;
    entra.publish_keys(json!([published("k1", &ONE)]), 1).await;
    let rejection = entra
        .validator()
        .validate(&entra.token("k1", &TWO))
        .await
        .unwrap_err();
    assert!(matches!(rejection, TokenRejection::Signature), "{rejection:?}");
}

#[tokio::test]
async fn refuses_changed_claims() {
    let entra = Entra::start().await;
    entra.publish_keys(json!([published("k1", &ONE)]), 1).await;
    let token = entra.token("k1", &ONE);
    let other = entra.token("k1", &TWO);
    let mut parts: Vec<&str> = token.expose().split('.').collect();
    let changed = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        "{\"oid\":\"ben\"}",
    );
    parts[1] = &changed;
    let validator = entra.validator();
    for forged in [
        parts.join("."),
        format!("{}.{}.", parts[0], parts[1]),
        other.expose().to_owned(),
    ] {
        let rejection = validator.validate(&Secret::new(forged)).await.unwrap_err();
        assert!(matches!(rejection, TokenRejection::Signature), "{rejection:?}");
    }
}

#[tokio::test]
async fn follows_a_key_rotation_at_once() {
    let entra = Entra::start().await;
    entra.publish_keys(json!([published("k1", &ONE)]), 1).await;
    let validator = entra.validator();
    validator.validate(&entra.token("k1", &ONE)).await.unwrap();
    entra.publish_keys(json!([published("k2", &TWO)]), u64::MAX).await;
    validator.validate(&entra.token("k2", &TWO)).await.unwrap();
    let rejection = validator.validate(&entra.token("k1", &ONE)).await.unwrap_err();
    assert!(matches!(rejection, TokenRejection::UnknownKey), "{rejection:?}");
}

#[tokio::test]
async fn invented_key_ids_cause_one_request_in_thirty_seconds() {
    let entra = Entra::start().await;
    entra.publish_keys(json!([published("k1", &ONE)]), u64::MAX).await;
    let validator = entra.validator();
    validator.validate(&entra.token("k1", &ONE)).await.unwrap();
    for attempt in 0..20 {
        let rejection = validator
            .validate(&entra.token(&format!("x{attempt}"), &TWO))
            .await
            .unwrap_err();
        assert!(matches!(rejection, TokenRejection::UnknownKey));
    }
    assert_eq!(entra.count("/keys").await, 2);
    entra.clock.advance(SignedDuration::from_secs(30));
    validator.validate(&entra.token("x", &TWO)).await.unwrap_err();
    assert_eq!(entra.count("/keys").await, 3);
}

#[tokio::test]
async fn an_outage_of_the_keys_is_not_a_rejection() {
    let entra = Entra::start().await;
    let rejection = entra
        .validator()
        .validate(&entra.token("k1", &ONE))
        .await
        .unwrap_err();
    assert!(rejection.is_outage(), "{rejection:?}");
}

#[tokio::test]
async fn without_keys_many_tokens_cause_one_request_in_fifteen_seconds() {
    let entra = Entra::start().await;
    let validator = entra.validator();
    let asked = async || entra.count("/keys").await;
    for _ in 0..20 {
        let rejection = validator.validate(&entra.token("k1", &ONE)).await.unwrap_err();
        assert!(rejection.is_outage(), "{rejection:?}");
    }
    assert_eq!(asked().await, 1);
    entra.publish_keys(json!([published("k1", &ONE)]), 1).await;
    entra.clock.advance(SignedDuration::from_secs(15));
    validator.validate(&entra.token("k1", &ONE)).await.unwrap();
    assert_eq!(asked().await, 2);
}

#[tokio::test]
async fn known_keys_are_used_for_a_day_of_outage() {
    let entra = Entra::start().await;
    entra.publish_keys(json!([published("k1", &ONE)]), 1).await;
    let validator = entra.validator();
    let token = entra.token("k1", &ONE);
    validator.validate(&token).await.unwrap();
    entra.clock.advance(SignedDuration::from_hours(23));
    validator.validate(&token).await.unwrap();
    assert!(entra.count("/keys").await > 1, "asked again in vain");
    entra.clock.advance(SignedDuration::from_hours(1));
    assert!(validator.validate(&token).await.unwrap_err().is_outage());
}

#[tokio::test]
async fn an_obviously_invalid_token_causes_no_request() {
    let entra = Entra::start().await;
    let header = Header {
        kid: Some("k1".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let token = jsonwebtoken::encode(&header, &entra.claims(), &EncodingKey::from_secret(b"public")).unwrap();
    let rejection = entra.validator().validate(&Secret::new(token)).await.unwrap_err();
    assert!(matches!(rejection, TokenRejection::Algorithm), "{rejection:?}");
    let mut claims = entra.claims();
    claims["padding"] = "x".repeat(1 << 20).into();
    let header = Header {
        kid: Some("k1".to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    let token = jsonwebtoken::encode(&header, &claims, &ONE).unwrap();
    let rejection = entra.validator().validate(&Secret::new(token)).await.unwrap_err();
    assert!(matches!(rejection, TokenRejection::Malformed), "{rejection:?}");
    assert_eq!(entra.count("/keys").await, 0);
}

/// A login that met the failing read of a caller waited for all its tries, and failed with it.
#[tokio::test]
async fn a_login_does_not_wait_while_discovery_is_read_for_the_token_of_a_caller() {
    let entra = Entra::without_discovery().await;
    let hanging = ResponseTemplate::new(503).set_delay(Duration::from_mins(1));
    let hanging = discovery()
        .respond_with(hanging)
        .up_to_n_times(1)
        .with_priority(1);
    hanging.mount(&entra.server).await;
    entra.publish(&entra.document()).await;
    let (validator, token) = (entra.validator(), entra.token("k1", &ONE));
    let caller = validator.validate(&token);
    let login = async {
        while entra.count("/openid-configuration").await == 0 {
            tokio::task::yield_now().await;
        }
        // Within less than the limit of the caller's read.
        tokio::time::timeout(Duration::from_secs(5), entra.client.discovery()).await
    };
    tokio::select! {
        biased;
        result = caller => panic!("the caller's token was decided first: {result:?}"),
        discovery = login => assert!(discovery.unwrap().is_ok()),
    }
}
