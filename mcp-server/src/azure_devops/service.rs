//! What all calls share: addresses, connections, and who was asked to slow down.

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::AzureDevOpsEndpoints;
use behalf_entra::{HttpClient, Secret};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use super::answer_budget::{AnswerBudget, AnswerShare};
use super::call::Call;
use super::error::Failure;
use super::patience::BUDGET;
use crate::token::UserToken;

/// Users whose throttling is remembered. More would be the users of one Pod within five minutes.
const REMEMBERED_USERS: u64 = 10_000;

/// Requests to the identity host, which only improve a message, get little time.
const TENANT_PROBE: Duration = Duration::from_secs(5);

/// Names this program to Azure DevOps.
pub(super) const USER_AGENT: &str = concat!("behalf-mcp-server/", env!("CARGO_PKG_VERSION"));

/// How to talk to Azure DevOps.
#[derive(Debug, Clone)]
pub struct Options {
    /// The organisation's name.
    pub organization: String,

    /// Where the service is.
    pub endpoints: AzureDevOpsEndpoints,

    /// The tenant of the users' tokens, when it is known; it makes a mismatch with the organisation's
    /// tenant plain.
    pub tenant_id: Option<String>,

    /// Asks for 401 in place of a sign-in page (`X-TFS-FedAuthRedirect: Suppress`). Off by default: in
    /// tenants with Conditional Access valid tokens were refused with it (azure-devops-mcp#977). Nothing
    /// here depends on it.
    pub suppress_sign_in_page: bool,
}

/// Azure DevOps, as all users of this process see it. Cheap to clone.
#[derive(Clone)]
pub struct AzureDevOps {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) http: HttpClient,
    pub(super) options: Options,
    /// Until when the service asked a user to wait, by the SHA-256 of the token: with delegated tokens each
    /// user has a budget of their own, and a request before its time only prolongs the wait.
    pauses: Cache<[u8; 32], Instant>,
    organization_tenant: OnceCell<Option<String>>,
    /// The memory for answers.
    answers: AnswerBudget,
}

impl AzureDevOps {
    /// Opens no connection yet.
    pub fn new(http: HttpClient, options: Options) -> Self {
        let pauses = Cache::builder()
            .max_capacity(REMEMBERED_USERS)
            .time_to_live(Duration::from_mins(5))
            .build();
        Self {
            shared: Arc::new(Shared {
                http,
                options,
                pauses,
                organization_tenant: OnceCell::new(),
                answers: AnswerBudget::default(),
            }),
        }
    }

    /// One tool call of one user.
    pub(crate) async fn call(&self, token: Arc<dyn UserToken>) -> Result<Call, Failure> {
        let current = token.current().await?;
        Ok(Call::new(self.clone(), token, current, BUDGET))
    }

    /// The organisation's name.
    pub fn organization(&self) -> &str {
        &self.shared.options.organization
    }

    /// The memory that answers to calls with this token may use.
    pub(super) fn answers(&self, token: &Secret) -> AnswerShare {
        self.shared.answers.share(hash(token))
    }

    /// Remembers that the service asked to wait.
    pub(super) async fn pause(&self, token: &Secret, wait: Duration) {
        self.shared
            .pauses
            .insert(hash(token), Instant::now() + wait)
            .await;
    }

    /// How long this user still has to wait.
    pub(super) async fn paused(&self, token: &Secret) -> Option<Duration> {
        let until = self.shared.pauses.get(&hash(token)).await?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// The organisation's tenant, asked for once and without a token; `None` when nobody tells.
    pub(crate) async fn organization_tenant(&self) -> Option<String> {
        self.shared
            .organization_tenant
            .get_or_init(|| self.ask_for_tenant())
            .await
            .clone()
    }

    /// True when the users' tenant is known to be another than the organisation's.
    pub(crate) async fn is_foreign_tenant(&self) -> bool {
        let Some(ours) = &self.shared.options.tenant_id else {
            return false;
        };
        self.organization_tenant()
            .await
            .is_some_and(|theirs| !theirs.eq_ignore_ascii_case(ours))
    }

    async fn ask_for_tenant(&self) -> Option<String> {
        let address = address(
            &self.shared.options.endpoints.identity,
            &[self.organization()],
            &[],
        )
        .ok()?;
        let answer = self
            .shared
            .http
            .client()
            .head(address)
            .timeout(TENANT_PROBE)
            .send()
            .await
            .ok()?;
        let tenant = answer
            .headers()
            .get("x-vss-resourcetenant")?
            .to_str()
            .ok()?
            .trim();
        let is_guid = tenant.len() == 36
            && tenant
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
            && tenant.bytes().any(|byte| byte != b'0' && byte != b'-');
        is_guid.then(|| tenant.to_owned())
    }
}

fn hash(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}

/// `base` with path segments and query, each encoded.
pub(super) fn address(base: &Url, segments: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
    let mut address = base.clone();
    {
        let mut path = address
            .path_segments_mut()
            .map_err(|()| Failure::Malformed("the endpoint's address"))?;
        path.pop_if_empty();
        for segment in segments {
            // `Url` drops these, and the rest would address something else.
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
    fn names_are_encoded_into_one_segment() {
        let base = Url::parse("https://dev.azure.com").unwrap();
        let address = address(&base, &["contoso", "a/b? #%\\", "_apis"], &[("t", "a&b=c")]).unwrap();
        assert_eq!(
            address.as_str(),
            "https://dev.azure.com/contoso/a%2Fb%3F%20%23%25%5C/_apis?t=a%26b%3Dc"
        );
    }

    #[test]
    fn a_name_cannot_climb() {
        let base = Url::parse("https://dev.azure.com/").unwrap();
        for name in ["..", ".", ""] {
            assert!(
                address(&base, &["contoso", name, "_apis"], &[]).is_err(),
                "{name:?}"
            );
        }
    }
}
