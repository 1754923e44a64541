//! RSA signing keys: of the simulator, and of the issuer fixture.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde::Serialize;
use serde_json::{Value, json};

use super::random;
use crate::keys::RSA;

/// Why a signing key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No RSA key could be generated.
    #[error("failed to generate an RSA key")]
    Generate(#[source] rcgen::Error),

    /// The key cannot sign, or its public half cannot be read.
    #[error("failed to use an RSA key")]
    Use(#[source] jsonwebtoken::errors::Error),
}

/// One RS256 key with its public half.
#[derive(Clone)]
pub(super) struct SigningKey {
    pub(super) kid: String,
    private: EncodingKey,
    modulus: String,
    exponent: String,
}

impl SigningKey {
    /// A new 2048-bit key under a random key id.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let pair =
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(KeyError::Generate)?;
        Self::from_pem(&pair.serialize_pem())
    }

    /// Creates this key with a random key id.
    fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(KeyError::Use)?;
        let public = Jwk::from_encoding_key(&private, Algorithm::RS256).map_err(KeyError::Use)?;
        let AlgorithmParameters::RSA(rsa) = public.algorithm else {
            return Err(KeyError::Use(
                jsonwebtoken::errors::ErrorKind::InvalidKeyFormat.into(),
            ));
        };
        Ok(Self {
            kid: random::short(),
            private,
            modulus: rsa.n,
            exponent: rsa.e,
        })
    }

    /// Signs `claims` with RS256, naming `kid` in the header.
    pub(super) fn sign(&self, kid: &str, claims: &impl Serialize) -> Result<String, KeyError> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &self.private).map_err(KeyError::Use)
    }

    /// The public half in a key set. Entra's keys have no `alg` (entra.md section 2).
    pub(super) fn public(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid,
            "n": self.modulus, "e": self.exponent,
        })
    }

    /// The public half, to verify with.
    pub(super) fn verifier(&self) -> Result<DecodingKey, KeyError> {
        DecodingKey::from_rsa_components(&self.modulus, &self.exponent).map_err(KeyError::Use)
    }
}

/// The keys of one issuer: the last one signs, all are published.
pub(super) struct KeyRing {
    published: Vec<SigningKey>,
    foreign: Option<SigningKey>,
    second: Option<&'static str>,
}

impl KeyRing {
    /// The keys that the simulator signs tokens with.
    pub(super) fn of_entra() -> Result<Self, KeyError> {
        let [first, second, _, _] = RSA;
        Self::starting_with(first, second)
    }

    /// The keys of the issuer fixture, which signs `ServiceAccount` tokens instead of a cluster.
    pub(super) fn of_issuer() -> Result<Self, KeyError> {
        let [_, _, first, second] = RSA;
        Self::starting_with(first, second)
    }

    /// `second` is the key of the first rotation; later rotations generate theirs.
    fn starting_with(first: &str, second: &'static str) -> Result<Self, KeyError> {
        Ok(Self {
            published: vec![SigningKey::from_pem(first)?],
            foreign: None,
            second: Some(second),
        })
    }

    /// The key that signs; a ring always has one.
    pub(super) fn current(&self) -> Option<&SigningKey> {
        self.published.last()
    }

    /// The published key with this id.
    pub(super) fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.published.iter().find(|key| key.kid == kid)
    }

    /// Makes a new signing key; the old ones stay published unless `withdraw_old`.
    pub(super) fn rotate(&mut self, withdraw_old: bool) -> Result<(), KeyError> {
        let key = match self.second.take() {
            Some(pem) => SigningKey::from_pem(pem)?,
            None => SigningKey::generate()?,
        };
        if withdraw_old {
            self.published.clear();
        }
        self.published.push(key);
        Ok(())
    }

    /// Signs with the current key.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        match self.current() {
            Some(key) => key.sign(&key.kid, claims),
            None => Err(KeyError::Use(
                jsonwebtoken::errors::ErrorKind::InvalidKeyFormat.into(),
            )),
        }
    }

    /// Signs with an unpublished key, under the current key's id.
    pub(super) fn sign_foreign(&mut self, claims: &impl Serialize) -> Result<String, KeyError> {
        let foreign = match self.foreign.take() {
            Some(key) => key,
            None => SigningKey::generate()?,
        };
        let kid = self.current().map(|key| key.kid.clone()).unwrap_or_default();
        let signed = foreign.sign(&kid, claims);
        self.foreign = Some(foreign);
        signed
    }

    /// The key set document.
    pub(super) fn document(&self) -> Value {
        json!({ "keys": self.published.iter().map(SigningKey::public).collect::<Vec<_>>() })
    }
}
