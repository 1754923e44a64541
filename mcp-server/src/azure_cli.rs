//! Tokens from the Azure CLI's login, for a person who runs the server on a laptop.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_identity::{AzureCliCredential, AzureCliCredentialOptions};
use behalf_entra::{AZURE_DEVOPS_SCOPE, Clock, Secret};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::token::{NoToken, UserKey, UserToken};

/// A token that expires within this time is fetched again.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Time limit of one start of `az`. It usually answers within seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why the credential cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AzureCliError {
    /// The tenant is neither an id nor a domain name.
    #[error("the tenant for the Azure CLI is not usable: give its id or its domain name")]
    Tenant(#[source] azure_core::Error),
}

/// Fetches tokens from the Azure CLI. The last one is cached until shortly before it expires, because each fetch
/// starts `az`.
pub struct AzureCli {
    credential: Arc<AzureCliCredential>,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<CachedToken>>,
}

struct CachedToken {
    token: Secret,
    expires_at: Timestamp,
}

impl AzureCli {
    /// Creates the credential. `tenant` is used instead of the CLI's default tenant.
    pub fn new(tenant: Option<String>, clock: Arc<dyn Clock>) -> Result<Self, AzureCliError> {
        let options = AzureCliCredentialOptions {
            tenant_id: tenant,
            ..Default::default()
        };
        let credential = AzureCliCredential::new(Some(options)).map_err(AzureCliError::Tenant)?;
        Ok(Self {
            credential,
            clock,
            cached: Mutex::new(None),
        })
    }

    async fn fetch(&self) -> Result<CachedToken, NoToken> {
        let fetched =
            tokio::time::timeout(TIMEOUT, self.credential.get_token(&[AZURE_DEVOPS_SCOPE], None)).await;
        let token = match fetched {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => return Err(NoToken(explain(&error.to_string()))),
            Err(_) => {
                return Err(NoToken(
                    "the Azure CLI did not answer in time; try `az account get-access-token` in a terminal"
                        .to_owned(),
                ));
            }
        };
        let expires_at =
            Timestamp::from_second(token.expires_on.unix_timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
        let text = token.token.secret();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoToken(
                "the Azure CLI returned no valid token; update it and run `az login`".to_owned(),
            ));
        }
        Ok(CachedToken {
            token: Secret::new(text),
            expires_at,
        })
    }
}

/// Returns the sentence that tells a person how to fix an error of the CLI. It may quote the error, because only
/// the person who runs the CLI reads it.
fn explain(message: &str) -> String {
    if message.contains("not found on PATH") {
        return "the Azure CLI (az) is not installed or not on PATH; install it and run `az login`"
            .to_owned();
    }
    if message.contains("az login") || message.contains("AADSTS") {
        return "the Azure CLI is not signed in, or its login has expired; run `az login` and try again"
            .to_owned();
    }
    let line = message
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(|line| crate::redact::line(&crate::redact::cut(line, 300)))
        .unwrap_or_default();
    format!(
        "the Azure CLI returned no token; run `az account get-access-token` in a terminal to see why ({line})"
    )
}

#[async_trait::async_trait]
impl UserToken for AzureCli {
    fn user(&self) -> UserKey {
        UserKey::LOCAL
    }

    async fn current(&self) -> Result<Secret, NoToken> {
        // The lock is held while `az` runs, so that it runs once.
        let mut cached = self.cached.lock().await;
        if let Some(cached) = cached.as_ref()
            && cached.expires_at.duration_since(self.clock.now()) > MARGIN
        {
            return Ok(cached.token.clone());
        }
        let fetched = self.fetch().await?;
        let token = fetched.token.clone();
        *cached = Some(fetched);
        Ok(token)
    }

    async fn renew(&self, _claims: Option<&str>) -> Result<Secret, NoToken> {
        *self.cached.lock().await = None;
        self.current().await
    }

    fn give_up(&self, claims: Option<String>) -> NoToken {
        NoToken(match claims {
            Some(_) => "Azure DevOps wants a stronger login (Conditional Access); run `az logout` and `az login`, then try again".to_owned(),
            None => "Azure DevOps does not accept the Azure CLI's login; run `az login` with an account of the organization, with --tenant if it is a guest there".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "AzureCliCredential authentication failed. az not found on PATH\nTo troubleshoot",
        "not installed"
    )]
    #[case("failed. Please run 'az login' to setup account.", "run `az login`")]
    #[case("failed. ERROR: AADSTS700082: The refresh token has expired", "has expired")]
    #[case("failed. Something of ana@contoso.example", "get-access-token")]
    fn says_what_to_run(#[case] message: &str, #[case] expected: &str) {
        let text = explain(message);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("ana@"), "{text}");
    }
}
