//! Reading a JWT before anything about it is verified, and verifying its signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A JWT taken apart. Nothing in it is verified.
pub(super) struct Unverified {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    pub(super) claims: Map<String, Value>,
    signed: String,
    signature: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl Unverified {
    /// `None`: not a JWT in compact form.
    pub(super) fn parse(token: &str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        Some(Self {
            alg: header.alg,
            kid: header.kid,
            claims,
            signed: signed.to_owned(),
            signature: signature.to_owned(),
        })
    }

    /// A claim that is a string.
    pub(super) fn text(&self, claim: &str) -> &str {
        self.claims.get(claim).and_then(Value::as_str).unwrap_or_default()
    }

    /// A claim that is a number of seconds.
    pub(super) fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims.get(claim).and_then(Value::as_i64)
    }

    /// `aud`, which is a string or a list.
    pub(super) fn audience(&self) -> Vec<String> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether this key made the RS256 signature.
    pub(super) fn is_signed_by(&self, key: &DecodingKey) -> bool {
        self.alg == "RS256"
            && jsonwebtoken::crypto::verify(&self.signature, self.signed.as_bytes(), key, Algorithm::RS256)
                .unwrap_or(false)
    }
}
