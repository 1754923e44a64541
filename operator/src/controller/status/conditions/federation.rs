//! Computes `FederationVerified`: whether Entra accepts the Pods' token as the application.

use behalf_contract::Reason;
use behalf_entra::FederationReason;

use super::current_reports::{CurrentReports, PodResult, StatusAndReason};
use super::{ConditionType, ConditionValue, Status};

/// Text for a Pod whose token has a different issuer than the API server publishes.
const OTHER_ISSUER: &str = "a Pod reports a token of another issuer than the API server's; if the API \
    server's issuer has changed, restart the Pod, else find out what runs in it";

/// Text for Pods that may be unable to reach the proxy.
const CLOSED_PROXY: &str = " The installation has a proxy, which spec.network.egress.internet: Disabled does not open: the \
    rules of spec.network.egress.allow must name it.";

/// Computes the condition. `command` creates the credential in Entra.
pub(in crate::controller::status) fn condition(
    current: &CurrentReports<'_>,
    command: Option<&str>,
) -> ConditionValue {
    let results = current.documents.iter().map(|document| PodResult {
        outcome: document.federation.outcome,
        reason: &document.federation.reason,
        conclusive: document.federation.observed_at.is_some(),
    });
    let result = current.status_and_reason(ConditionType::FederationVerified, Reason::TokenAccepted, results);
    let mut message = text(&result, current, command);
    // The text does not contain the issuer: an administrator must not make Entra trust an issuer that a
    // Pod reports.
    if current.other_issuer && !current.suspended {
        message.push_str("; ");
        message.push_str(OTHER_ISSUER);
    }
    result.with_text(message)
}

/// Returns the text of `FederationVerified`. `command` creates the credential.
fn text(result: &StatusAndReason<'_>, current: &CurrentReports<'_>, command: Option<&str>) -> String {
    if let Some(text) = result.common_text() {
        return text;
    }
    let what = match result.status {
        Status::True => return "Entra accepts this ServiceAccount's token as the application".to_owned(),
        Status::False => "Entra does not accept this ServiceAccount's token as the application.",
        Status::Unknown => "It is unknown whether Entra accepts this ServiceAccount's token.",
    };
    let known = FederationReason::ALL
        .iter()
        .find(|known| known.as_str() == result.reason.as_str())
        .filter(|known| !matches!(known, FederationReason::Unknown));
    let Some(known) = known else {
        return format!(
            "{what} This version of the operator does not know the reason: read the log of container auth-sidecar, and \
             look up the correlation id from it in the sign-in logs of the tenant (service principal sign-ins)."
        );
    };
    let advice = match known {
        FederationReason::ResourceNotFound => current.api.create_service_principal(),
        FederationReason::AppNotAssigned => current.api.assign(),
        other => other.fix().to_owned(),
    };
    let mut text = format!("{what} {advice}");
    if let Some(identity) = current.identity {
        text = text.replace(
            "system:serviceaccount:<namespace>:<service account>",
            &identity.subject,
        );
    }
    if let Some(client_id) = current.client_id {
        text = text.replace("<client id>", client_id);
    }
    if let Some(command) = command.filter(|_| wants_credential(result.reason)) {
        text.push_str(" The command that creates the missing credential: ");
        text.push_str(command);
    }
    if current.proxy_is_closed && result.reason == Reason::Unreachable {
        text.push_str(CLOSED_PROXY);
    }
    text
}

/// Returns whether the federated identity credential is wrong or missing, so that the command helps.
fn wants_credential(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::FicIssuerMismatch
            | Reason::FicAudienceMismatch
            | Reason::FicSubjectMismatch
            | Reason::FicCaseMismatch
            | Reason::FicNotFound
            | Reason::FederatedTokenSignature
    )
}
