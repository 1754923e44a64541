//! Fetches the discovery document and keys of the issuers that federated credentials name. Nothing is
//! cached: a rotated key or a vanished issuer is seen at the next request.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::model::IssuerAccess;

/// Why an issuer's keys could not be fetched. All of it is AADSTS90061 to the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    #[error("issuer's trust or token file cannot be read")]
    File(#[source] std::io::Error),
    #[error("issuer's HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
    #[error("issuer does not answer with the expected document")]
    Fetch(#[source] reqwest::Error),
    #[error("discovery document names another issuer")]
    OtherIssuer,
}

/// An RSA key of an issuer's key set; members of other kinds are passed over.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PublicKey {
    pub(super) kid: Option<String>,
    pub(super) n: Option<String>,
    pub(super) e: Option<String>,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<PublicKey>,
}

/// HTTP clients by the certificate authority they trust.
#[derive(Default)]
pub(super) struct IssuerClients {
    clients: Mutex<HashMap<Option<PathBuf>, reqwest::Client>>,
}

impl IssuerClients {
    /// The keys that `issuer` publishes at this moment.
    pub(super) async fn keys(
        &self,
        issuer: &str,
        access: Option<&IssuerAccess>,
    ) -> Result<Vec<PublicKey>, IssuerError> {
        let http = self.client(access.and_then(|access| access.certificate_authority_file.clone()))?;
        let bearer = match access.and_then(|access| access.bearer_token_file.as_ref()) {
            Some(path) => {
                let token = tokio::fs::read_to_string(path).await.map_err(IssuerError::File)?;
                Some(token.trim().to_owned())
            }
            None => None,
        };
        let base = access
            .and_then(|access| access.base.as_ref())
            .map_or(issuer, url::Url::as_str);
        let base = base.trim_end_matches('/');
        let address = format!("{base}/.well-known/openid-configuration");
        let document: DiscoveryDocument = fetch(&http, &address, bearer.as_deref()).await?;
        if document.issuer != issuer {
            return Err(IssuerError::OtherIssuer);
        }
        // The issuer's name is unreachable from here, so a key address below it is replaced as well.
        let keys = match document.jwks_uri.strip_prefix(issuer.trim_end_matches('/')) {
            Some(path) => format!("{base}{path}"),
            None => document.jwks_uri,
        };
        let set: KeySet = fetch(&http, &keys, bearer.as_deref()).await?;
        Ok(set.keys)
    }

    fn client(&self, authority: Option<PathBuf>) -> Result<reqwest::Client, IssuerError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&authority) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(5));
        if let Some(path) = &authority {
            let pem = std::fs::read(path).map_err(IssuerError::File)?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(IssuerError::Client)?;
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build().map_err(IssuerError::Client)?;
        clients.insert(authority, client.clone());
        Ok(client)
    }
}

async fn fetch<T: DeserializeOwned>(
    http: &reqwest::Client,
    address: &str,
    bearer: Option<&str>,
) -> Result<T, IssuerError> {
    let mut request = http.get(address);
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    let response = request.send().await.and_then(reqwest::Response::error_for_status);
    response
        .map_err(IssuerError::Fetch)?
        .json()
        .await
        .map_err(IssuerError::Fetch)
}
