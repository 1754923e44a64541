//! Computes `UserSignIn`: whether Entra signs users in and exchanges their tokens.

use behalf_contract::Reason;

use super::current_reports::{CurrentReports, PodResult, StatusAndReason};
use super::{ConditionType, ConditionValue};

/// Computes the condition. If Pods differ, the newest report counts, because a Pod without users observes no
/// sign-ins.
pub(in crate::controller::status) fn condition(current: &CurrentReports<'_>) -> ConditionValue {
    let reports = current
        .documents
        .iter()
        .filter_map(|document| document.sign_in.as_ref());
    let newest = reports.max_by_key(|report| report.observed_at);
    let results = newest.iter().map(|report| PodResult {
        outcome: report.outcome,
        reason: &report.reason,
        conclusive: report.observed_at.is_some(),
    });
    let result = current.status_and_reason(ConditionType::UserSignIn, Reason::SignedIn, results);
    let message = text(&result, newest.is_some(), current);
    result.with_text(message)
}

/// Returns the text of `UserSignIn`. `reported` is true if at least one Pod reports sign-ins.
fn text(result: &StatusAndReason<'_>, reported: bool, current: &CurrentReports<'_>) -> String {
    let client_id = current.client_id.unwrap_or("<client id>");
    match result.reason {
        Reason::NotObserved if reported => "no user has signed in and called a tool yet".to_owned(),
        Reason::SignedIn => {
            "users sign in, and their tokens are exchanged where the sidecar does that".to_owned()
        }
        Reason::ConsentRequired | Reason::AdminConsentRequired => format!(
            "Entra refuses users because the application's permissions are not granted; grant them for the tenant: \
             az ad app permission admin-consent --id {client_id}"
        ),
        Reason::PermissionMissing => format!(
            "Entra refuses users because the app registration lacks a permission; add {} to it, then run az ad app permission \
             admin-consent --id {client_id}",
            current.api.permission()
        ),
        Reason::AppMisconfigured => "users' tokens do not match the configuration; set requestedAccessTokenVersion of the app \
                                     registration to 2, expose the scope access_as_user and allow User.Read"
            .to_owned(),
        _ => result.common_text().unwrap_or_else(|| {
            "this version of the operator does not know the reason that the sidecar reports for sign-ins; read the log of \
             container auth-sidecar"
                .to_owned()
        }),
    }
}
