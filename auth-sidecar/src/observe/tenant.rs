//! Asks Azure DevOps, without a user, which tenant the organization belongs to.
//!
//! Users of another tenant get refusals or empty lists from Azure DevOps, which say nothing about tenants. The answer to
//! `HEAD https://vssps.dev.azure.com/<organization>` names the tenant in a header, to anybody and whatever its status.

use std::time::Duration;

use behalf_contract::{
    ORGANIZATION_TENANT_HEADER, OrganizationTenant, Outcome, Reason, SidecarConfig, TenantReport,
};
use behalf_entra::{HttpClient, HttpLimits, TrustError};
use behalf_runtime::error_chain;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use url::Url;

use super::schedule::Pace;
use crate::trust_roots::trust_roots;

/// Asks for the tenant of the configured organization.
#[derive(Debug, Clone)]
pub struct TenantProbe {
    http: HttpClient,
    address: Url,

    /// The configured tenant.
    tenant_id: String,
}

/// Why the tenant is not known.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// The connection failed, or no answer came in time.
    #[error("Azure DevOps does not answer")]
    Unreachable(#[source] reqwest::Error),

    /// Azure DevOps limits the rate.
    #[error("Azure DevOps limits the rate of requests")]
    Throttled {
        /// The pause that it requests (`Retry-After`).
        after: Option<Duration>,
    },

    /// Azure DevOps is out of order.
    #[error("Azure DevOps answers with HTTP {0}")]
    OutOfOrder(StatusCode),

    /// The answer has no header with a tenant.
    #[error("Azure DevOps names no tenant for the organization (HTTP {0})")]
    NotNamed(StatusCode),
}

impl TenantProbe {
    /// Creates the probe, or returns `None` if the server is not of Azure DevOps.
    ///
    /// # Errors
    /// [`TrustError`] if the bundle of certificate authorities cannot be read.
    pub fn of(config: &SidecarConfig) -> Result<Option<Self>, TrustError> {
        let Some(address) = &config.tenant_address else {
            return Ok(None);
        };
        let proxies = config.egress_proxy.as_ref().into();
        Ok(Some(Self {
            http: trust_roots(config).http_client(HttpLimits::default(), proxies)?,
            address: address.clone(),
            tenant_id: config.entra.tenant_id.clone(),
        }))
    }

    /// Sends one request.
    ///
    /// # Errors
    /// [`TenantError`] if the answer names no tenant.
    pub async fn run(&self) -> Result<OrganizationTenant, TenantError> {
        let request = self.http.client().head(self.address.clone());
        let answer = request.send().await.map_err(TenantError::Unreachable)?;
        named(&self.tenant_id, answer.status(), answer.headers())
    }
}

/// Returns the status after an answer.
pub fn report(answer: &Result<OrganizationTenant, TenantError>, now: Timestamp) -> TenantReport {
    let (outcome, reason, message) = match answer {
        Ok(OrganizationTenant::Same) => (
            Outcome::Verified,
            Reason::SameTenant,
            "Azure DevOps names the configured tenant for the organization.".to_owned(),
        ),
        Ok(OrganizationTenant::Other(tenant)) => (
            Outcome::Failed,
            Reason::OtherTenant,
            format!(
                "Azure DevOps names the tenant {tenant} for the organization, and spec.entra.tenantId is another one. Set \
                 spec.entra to the organization's tenant and an application of it, or name an organization of this tenant."
            ),
        ),
        Ok(OrganizationTenant::NotConnected) => (
            Outcome::Failed,
            Reason::NoTenant,
            "The organization is connected to no Entra tenant. Connect it in its settings, under Microsoft Entra.".to_owned(),
        ),
        Err(error) => (Outcome::Unknown, error.reason(), error.message()),
    };
    TenantReport {
        outcome,
        reason: reason.as_str().to_owned(),
        message,
        observed_at: now,
    }
}

/// Returns the pace of the next request.
pub fn pace(answer: &Result<OrganizationTenant, TenantError>, failures_before: u32) -> Pace {
    let at_least = match answer {
        Ok(OrganizationTenant::Same) => return Pace::Settled,
        Err(TenantError::Throttled { after }) => *after,
        _ => None,
    };
    Pace::Broken {
        failures: failures_before.saturating_add(1),
        at_least,
    }
}

impl TenantError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) | Self::OutOfOrder(_) => Reason::Unreachable,
            Self::Throttled { .. } => Reason::Throttled,
            Self::NotNamed(_) => Reason::TenantNotNamed,
        }
    }

    fn message(&self) -> String {
        let fix = match self {
            Self::Unreachable(_) => "check egress to spec.server.azureDevOps.endpoints.identity",
            Self::Throttled { .. } | Self::OutOfOrder(_) => "wait: the sidecar asks again",
            Self::NotNamed(_) => "check the name in spec.server.azureDevOps.organization",
        };
        format!("{}; {fix}", error_chain(self))
    }
}

/// Reads the tenant from an answer and compares it with `ours`. The status does not matter: the real service answers 404.
fn named(ours: &str, status: StatusCode, headers: &HeaderMap) -> Result<OrganizationTenant, TenantError> {
    let values = headers.get_all(ORGANIZATION_TENANT_HEADER).iter();
    let tenant = OrganizationTenant::named(values.filter_map(|value| value.to_str().ok()), ours);
    tenant.ok_or_else(|| match status {
        StatusCode::TOO_MANY_REQUESTS => TenantError::Throttled {
            after: headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs),
        },
        status if status.is_server_error() => TenantError::OutOfOrder(status),
        status => TenantError::NotNamed(status),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const OURS: &str = "aaaaaaaa-1111-4111-8111-111111111111";
    const OTHER: &str = "99999999-9999-4999-8999-999999999999";
    const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";

    fn answer(status: u16, header: &str) -> Result<OrganizationTenant, TenantError> {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert(ORGANIZATION_TENANT_HEADER, header.parse().unwrap());
        }
        named(OURS, StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[rstest]
    #[case::as_recorded(404, OURS, Outcome::Verified, "SameTenant")]
    #[case::with_another_status(401, OURS, Outcome::Verified, "SameTenant")]
    #[case::in_upper_case(404, &OURS.to_ascii_uppercase(), Outcome::Verified, "SameTenant")]
    #[case::beside_the_empty_one(404, &format!("{NO_TENANT}, {OURS}"), Outcome::Verified, "SameTenant")]
    #[case::beside_another_one(404, &format!("{OTHER}, {OURS}"), Outcome::Verified, "SameTenant")]
    #[case::other(404, OTHER, Outcome::Failed, "OtherTenant")]
    #[case::not_connected(404, NO_TENANT, Outcome::Failed, "NoTenant")]
    #[case::no_header(404, "", Outcome::Unknown, "TenantNotNamed")]
    #[case::no_guid(404, "contoso", Outcome::Unknown, "TenantNotNamed")]
    #[case::page_of_a_gateway(200, "", Outcome::Unknown, "TenantNotNamed")]
    #[case::throttled(429, "", Outcome::Unknown, "Throttled")]
    #[case::out_of_order(503, "", Outcome::Unknown, "Unreachable")]
    fn an_answer_says_whether_the_organization_has_the_configured_tenant(
        #[case] status: u16,
        #[case] header: &str,
        #[case] outcome: Outcome,
        #[case] reason: &str,
    ) {
        let report = report(&answer(status, header), Timestamp::UNIX_EPOCH);
        assert_eq!((report.outcome, report.reason.as_str()), (outcome, reason));
        assert_eq!(report.message.contains(OTHER), header == OTHER);
    }

    #[test]
    fn only_the_right_tenant_settles_the_question() {
        assert_eq!(pace(&answer(404, OURS), 3), Pace::Settled);
        for other in [answer(404, OTHER), answer(404, NO_TENANT), answer(404, "")] {
            let soon = Pace::Broken {
                failures: 4,
                at_least: None,
            };
            assert_eq!(pace(&other, 3), soon);
        }
    }
}
