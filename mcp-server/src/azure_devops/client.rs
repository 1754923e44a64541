//! The client of Azure DevOps that all calls share: addresses, connections, throttled users, memory for answers.

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::{AzureDevOpsEndpoints, ORGANIZATION_TENANT_HEADER, OrganizationTenant};
use behalf_entra::{HttpClient, Secret};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use super::answer_budget::{AnswerBudget, AnswerShare};
use super::failure::Failure;
use crate::metrics::Metrics;
use crate::token::UserKey;

/// Maximum number of tokens whose throttling is remembered. One Pod serves fewer within [`PAUSE_LIFETIME`].
const REMEMBERED_PAUSES: u64 = 10_000;

/// Azure DevOps asks for waits of at most some minutes.
const PAUSE_LIFETIME: Duration = Duration::from_mins(5);

/// Time limit of the request for the tenant of the organization, which only improves a message.
const TENANT_TIMEOUT: Duration = Duration::from_secs(5);

/// The `User-Agent` of all requests.
pub(super) const USER_AGENT: &str = concat!("behalf-mcp-server/", env!("CARGO_PKG_VERSION"));

/// The settings of the client.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the organization: `contoso` of `https://dev.azure.com/contoso`.
    pub organization: String,

    /// Base addresses of the API.
    pub endpoints: AzureDevOpsEndpoints,

    /// The tenant of the users' tokens, if it is known. An empty list can then name a mismatch with the
    /// organization's tenant as its cause.
    pub tenant_id: Option<String>,

    /// Asks for 401 instead of a sign-in page (`X-TFS-FedAuthRedirect: Suppress`). Off by default, because
    /// tenants with Conditional Access then refused valid tokens (azure-devops-mcp#977). No code here
    /// depends on it.
    pub suppress_sign_in_page: bool,
}

/// The client of Azure DevOps. All users share it; it contains no token. Clones are cheap.
#[derive(Clone)]
pub struct AzureDevOps {
    pub(super) inner: Arc<ClientInner>,
}

pub(super) struct ClientInner {
    pub(super) http: HttpClient,
    pub(super) options: Options,
    /// The time before which no request with a token is sent, by the SHA-256 of the token. Azure DevOps
    /// throttles each user apart, and a request during the wait prolongs it.
    pauses: Cache<[u8; 32], Instant>,
    organization_tenant: OnceCell<Option<String>>,
    /// The memory for answers.
    answers: AnswerBudget,
    pub(super) metrics: Arc<Metrics>,
}

impl AzureDevOps {
    /// Creates the client without opening a connection.
    pub fn new(http: HttpClient, options: Options, metrics: Arc<Metrics>) -> Self {
        let pauses = Cache::builder()
            .max_capacity(REMEMBERED_PAUSES)
            .time_to_live(PAUSE_LIFETIME)
            .build();
        Self {
            inner: Arc::new(ClientInner {
                http,
                options,
                pauses,
                organization_tenant: OnceCell::new(),
                answers: AnswerBudget::default(),
                metrics,
            }),
        }
    }

    /// Returns the name of the organization.
    pub fn organization(&self) -> &str {
        &self.inner.options.organization
    }

    /// Returns the memory that answers to calls of `user` may use.
    pub(super) fn answers(&self, user: UserKey) -> AnswerShare {
        self.inner.answers.share(user)
    }

    /// Delays further requests with `token` by `wait`, as the service asked.
    pub(super) async fn pause(&self, token: &Secret, wait: Duration) {
        self.inner.pauses.insert(hash(token), Instant::now() + wait).await;
    }

    /// Returns the time until requests with `token` may be sent again, or `None` if they may be sent now.
    pub(super) async fn paused(&self, token: &Secret) -> Option<Duration> {
        let until = self.inner.pauses.get(&hash(token)).await?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// Returns the tenant of the organization. If the identity service names several and the users' tenant is one of them, returns
    /// that one. `None` if it names no tenant. The first call sends the request, without a token, and later calls use its answer.
    pub(crate) async fn organization_tenant(&self) -> Option<String> {
        self.inner
            .organization_tenant
            .get_or_init(|| self.request_tenant())
            .await
            .clone()
    }

    /// Returns true if the users' tenant and the organization's tenant are known and differ.
    pub(crate) async fn is_foreign_tenant(&self) -> bool {
        let Some(ours) = &self.inner.options.tenant_id else {
            return false;
        };
        self.organization_tenant()
            .await
            .is_some_and(|theirs| !theirs.eq_ignore_ascii_case(ours))
    }

    async fn request_tenant(&self) -> Option<String> {
        let address = address(
            &self.inner.options.endpoints.identity,
            &[self.organization()],
            &[],
        )
        .ok()?;
        let answer = self
            .inner
            .http
            .client()
            .head(address)
            .timeout(TENANT_TIMEOUT)
            .send()
            .await
            .ok()?;
        let values = answer.headers().get_all(ORGANIZATION_TENANT_HEADER).iter();
        let ours = self.inner.options.tenant_id.as_deref().unwrap_or_default();
        match OrganizationTenant::named(values.filter_map(|value| value.to_str().ok()), ours)? {
            OrganizationTenant::Same => Some(ours.to_owned()),
            OrganizationTenant::Other(tenant) => Some(tenant),
            OrganizationTenant::NotConnected => None,
        }
    }
}

fn hash(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}

/// Builds an address from `base`, path segments and query pairs, each encoded.
pub(super) fn address(base: &Url, segments: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
    let mut address = base.clone();
    {
        let mut path = address
            .path_segments_mut()
            .map_err(|()| Failure::Malformed("the endpoint's address"))?;
        path.pop_if_empty();
        for segment in segments {
            // `Url` drops these segments, so that the rest would address another resource.
            if segment.is_empty() || *segment == "." || *segment == ".." {
                return Err(Failure::Malformed("an empty name in the address"));
            }
            path.push(segment);
        }
    }
    if !query.is_empty() {
        address.query_pairs_mut().extend_pairs(query);
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_a_name_into_one_segment() {
        let base = Url::parse("https://dev.azure.com").unwrap();
        let address = address(&base, &["contoso", "a/b? #%\\", "_apis"], &[("t", "a&b=c")]).unwrap();
        assert_eq!(
            address.as_str(),
            "https://dev.azure.com/contoso/a%2Fb%3F%20%23%25%5C/_apis?t=a%26b%3Dc"
        );
    }

    #[test]
    fn refuses_a_name_that_changes_the_path() {
        let base = Url::parse("https://dev.azure.com/").unwrap();
        for name in ["..", ".", ""] {
            assert!(
                address(&base, &["contoso", name, "_apis"], &[]).is_err(),
                "{name:?}"
            );
        }
    }
}
