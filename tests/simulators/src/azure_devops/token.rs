//! Identifies the caller: the user of a token whose signature was checked against the tenant's keys.
//!
//! The simulator trusts no header, no client id and no network address. It reads the tenant's discovery
//! document, fetches the keys, checks signature, issuer, audience, time, that the token is a delegated one and
//! that Entra's simulator issued it On-Behalf-Of. That is also why a test which leaves the exchange out cannot pass.

use std::{fmt, path::PathBuf, sync::Mutex, sync::PoisonError, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde::Deserialize;
use url::Url;

use super::clock::Clock;
use crate::entra::RequestKind;
use crate::people::{AZURE_DEVOPS_APPLICATION_ID, AZURE_DEVOPS_APPLICATION_URI};

/// Skew that is forgiven on `nbf`, in seconds. None is forgiven on `exp`: the service allows minutes, but a
/// token used after its end is a mistake that a test wants to see at once.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 60;

/// The source of the tenant's keys.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Base URL of the authority, for example `https://login.microsoftonline.com`.
    pub authority: Url,

    /// The tenant that the organization belongs to.
    pub tenant_id: String,

    /// PEM file with further roots to trust when the authority is https. Read at each fetch of the keys.
    pub certificate_authority: Option<PathBuf>,
}

/// A verified user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) object_id: String,
    pub(super) sign_in_name: Option<String>,
    pub(super) name: Option<String>,
}

/// Why a token says nothing about its bearer. The caller never learns which; the record does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization: Bearer`.
    #[error("missing")]
    Missing,

    /// Not a JWT, or a claim is absent or has the wrong type.
    #[error("malformed")]
    Malformed,

    /// Anything but RS256.
    #[error("algorithm")]
    Algorithm,

    /// Signed by a key the tenant does not publish.
    #[error("signature")]
    Signature,

    /// `iss` is neither this tenant's nor another one of the same authority.
    #[error("issuer")]
    Issuer,

    /// Issued for something else than Azure DevOps, for instance for Behalf's own application.
    #[error("audience")]
    Audience,

    /// After `exp`.
    #[error("expired")]
    Expired,

    /// Before `nbf`.
    #[error("notYetValid")]
    NotYetValid,

    /// No user in it: `idtyp` is `app`, or there is no `user_impersonation` in `scp`.
    #[error("appOnly")]
    AppOnly,

    /// Not obtained On-Behalf-Of: the service itself takes it, this simulator does not, so that a product which
    /// leaves the exchange out cannot pass.
    #[error("grant")]
    Grant,

    /// Authentic, but of another tenant: answered with `VS30063`.
    #[error("foreignTenant")]
    ForeignTenant,

    /// The keys could not be fetched: the simulator answers 503, because it does not know.
    #[error("keysUnreachable")]
    KeysUnreachable,
}

#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("failed to read the certificate authority file")]
    CertificateAuthority(#[source] std::io::Error),
    #[error("failed to fetch discovery or keys")]
    Fetch(#[from] reqwest::Error),
}

#[derive(Debug, Clone, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

#[derive(Debug, Clone)]
struct Keys {
    issuer: String,
    set: JwkSet,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn is_azure_devops(&self) -> bool {
        let accepted = |audience: &String| {
            [AZURE_DEVOPS_APPLICATION_ID, AZURE_DEVOPS_APPLICATION_URI]
                .contains(&audience.trim_end_matches('/'))
        };
        match self {
            Self::One(audience) => accepted(audience),
            Self::Many(audiences) => audiences.iter().any(accepted),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    nbf: Option<i64>,
    tid: String,
    oid: String,
    scp: Option<String>,
    idtyp: Option<String>,
    preferred_username: Option<String>,
    upn: Option<String>,
    name: Option<String>,

    /// How the Entra simulator came to issue it.
    sim_grant: Option<RequestKind>,
}

/// Checks bearer tokens against the keys of one tenant.
pub(super) struct Verifier {
    issuer: Issuer,
    clock: Clock,
    keys: Mutex<Option<Keys>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    pub(super) fn new(issuer: Issuer, clock: Clock) -> Self {
        Self {
            issuer,
            clock,
            keys: Mutex::new(None),
        }
    }

    pub(super) fn tenant_id(&self) -> &str {
        &self.issuer.tenant_id
    }

    pub(super) fn authority(&self) -> &Url {
        &self.issuer.authority
    }

    /// The user of `token`, or why there is none.
    pub(super) async fn verify(&self, token: Option<&str>) -> Result<User, Refusal> {
        let token = token.ok_or(Refusal::Missing)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        if header.alg != Algorithm::RS256 {
            return Err(Refusal::Algorithm);
        }
        let kid = header.kid.ok_or(Refusal::Signature)?;
        let keys = self.keys_with(&kid).await?;
        let key = keys.set.find(&kid).ok_or(Refusal::Signature)?;
        let key = DecodingKey::from_jwk(key).map_err(|_| Refusal::Signature)?;
        let claims = Self::checked_signature(token, &key)?;
        self.judge(&claims, &keys.issuer)?;
        Ok(User {
            object_id: claims.oid.to_ascii_lowercase(),
            sign_in_name: claims.preferred_username.or(claims.upn),
            name: claims.name,
        })
    }

    fn checked_signature(token: &str, key: &DecodingKey) -> Result<Claims, Refusal> {
        // Only the signature is checked here. The rest needs the simulator's clock and says more precisely
        // what is wrong.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode(token, key, &validation)
            .map(|data| data.claims)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => Refusal::Signature,
                _ => Refusal::Malformed,
            })
    }

    fn judge(&self, claims: &Claims, issuer: &str) -> Result<(), Refusal> {
        let home = &self.issuer.tenant_id;
        // Version 1 tokens carry the older issuer of the same tenant.
        let of_tenant = |tenant: &str| {
            claims.iss == issuer.replace(home.as_str(), tenant)
                || claims.iss == format!("https://sts.windows.net/{tenant}/")
        };
        if !of_tenant(&claims.tid) {
            return Err(Refusal::Issuer);
        }
        if !claims.aud.is_azure_devops() {
            return Err(Refusal::Audience);
        }
        let now = self.clock.now().as_second();
        if now >= claims.exp {
            return Err(Refusal::Expired);
        }
        if claims
            .nbf
            .is_some_and(|nbf| now < nbf.saturating_sub(NOT_BEFORE_LEEWAY_SECONDS))
        {
            return Err(Refusal::NotYetValid);
        }
        let delegated = claims
            .scp
            .as_deref()
            .is_some_and(|scp| scp.split(' ').any(|scope| scope == "user_impersonation"));
        if !delegated || claims.idtyp.as_deref() == Some("app") {
            return Err(Refusal::AppOnly);
        }
        if claims.sim_grant != Some(RequestKind::OnBehalfOf) {
            return Err(Refusal::Grant);
        }
        if !claims.tid.eq_ignore_ascii_case(home) {
            return Err(Refusal::ForeignTenant);
        }
        Ok(())
    }

    /// The cached keys if they hold `kid`, else fresh ones: a rotation is seen at the first token.
    async fn keys_with(&self, kid: &str) -> Result<Keys, Refusal> {
        let cached = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(keys) = cached.filter(|keys| keys.set.find(kid).is_some()) {
            return Ok(keys);
        }
        match self.fetch().await {
            Ok(keys) => {
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
                Ok(keys)
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "Azure DevOps simulator is unable to fetch the tenant's keys"
                );
                Err(Refusal::KeysUnreachable)
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, KeysError> {
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &self.issuer.certificate_authority {
            let pem = tokio::fs::read(path)
                .await
                .map_err(KeysError::CertificateAuthority)?;
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        let http = builder.build()?;
        let authority = self.issuer.authority.as_str().trim_end_matches('/');
        let address = format!(
            "{authority}/{}/v2.0/.well-known/openid-configuration",
            self.issuer.tenant_id
        );
        let discovery: Discovery = http.get(address).send().await?.error_for_status()?.json().await?;
        // The document names an address that may be reached through a proxy only. Here the authority serves its keys.
        let keys = format!("{authority}{}", discovery.jwks_uri.path());
        let set = http.get(keys).send().await?.error_for_status()?.json().await?;
        Ok(Keys {
            issuer: discovery.issuer,
            set,
        })
    }
}
