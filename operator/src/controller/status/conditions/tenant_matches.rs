//! Computes `TenantMatches`: whether Azure DevOps names the tenant of the users for the organization.

use behalf_contract::{AzureDevOpsConfig, Reason};

use super::current_reports::{CurrentReports, PodResult, StatusAndReason};
use super::{ConditionType, ConditionValue, find};
use crate::api::v1alpha1::McpServerStatus;
use crate::controller::plan::{Plan, ServerPlan};

/// Computes the condition. Returns `None` for a server that is not of Azure DevOps. `plan` is `None` if the object is refused;
/// then the condition stays if there was one.
pub(in crate::controller::status) fn condition(
    current: &CurrentReports<'_>,
    plan: Option<&Plan>,
    previous: &McpServerStatus,
) -> Option<ConditionValue> {
    let kind = ConditionType::TenantMatches;
    let server = match plan.map(|plan| &plan.kind) {
        Some(ServerPlan::AzureDevOps(server)) => Some(server),
        Some(ServerPlan::Container(_)) => return None,
        None => find(&previous.conditions, kind).map(|_| None)?,
    };
    let reports = current
        .documents
        .iter()
        .filter_map(|document| document.tenant.as_ref());
    let results = reports.map(|report| PodResult {
        outcome: report.outcome,
        reason: &report.reason,
        conclusive: true,
    });
    let result = current.status_and_reason(kind, Reason::SameTenant, results);
    let message = text(&result, server);
    Some(result.with_text(message))
}

/// Returns the text. It names no tenant that a Pod reports: administrators put the tenant of such a text into the spec, and
/// users would then sign in there.
fn text(result: &StatusAndReason<'_>, server: Option<&AzureDevOpsConfig>) -> String {
    match result.reason {
        Reason::SameTenant => {
            "Azure DevOps names the tenant of spec.entra.tenantId for the organization".to_owned()
        }
        Reason::OtherTenant => {
            let address = server.map_or_else(
                || "https://vssps.dev.azure.com/<organization>".to_owned(),
                |server| server.tenant_address().to_string(),
            );
            format!(
                "Azure DevOps names another tenant than spec.entra.tenantId for the organization, so that it refuses users or shows \
                 them nothing; read its tenant in the header x-vss-resourcetenant of \"curl --silent --head {address}\", then set \
                 spec.entra to that tenant and an application of it, or name an organization of this tenant"
            )
        }
        Reason::NoTenant => {
            "the organization is connected to no Entra tenant, so that it knows no user of spec.entra.tenantId; connect it in its \
             settings, under Microsoft Entra"
                .to_owned()
        }
        Reason::TenantNotNamed => {
            "Azure DevOps answers, but names no tenant for the organization; check spec.server.azureDevOps.organization, and that \
             spec.server.azureDevOps.endpoints.identity is the identity service"
                .to_owned()
        }
        Reason::Unreachable => "a Pod does not reach Azure DevOps, so that the tenant is not known; check egress to \
                                spec.server.azureDevOps.endpoints.identity"
            .to_owned(),
        Reason::Throttled => {
            "Azure DevOps limits the requests of a Pod, so that the tenant is not known; it asks again".to_owned()
        }
        _ => result.common_text().unwrap_or_else(|| {
            "this version of the operator does not know the reason that the sidecar reports for the tenant; read the log of \
             container auth-sidecar"
                .to_owned()
        }),
    }
}
