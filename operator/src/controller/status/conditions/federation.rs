//! Computes `FederationVerified`: whether Entra accepts the Pods' token as the application.

use behalf_contract::Reason;
use behalf_entra::FederationReason;

use super::observed::{Judged, Observed, Seen};
use super::{ConditionType, Finding, Status};

/// Text for a Pod whose token has a different issuer than the API server publishes.
const OTHER_ISSUER: &str = "a Pod reports a token of another issuer than the API server's; if the API \
    server's issuer has changed, restart the Pod, else find out what runs in it";

/// Text for Pods that may be unable to reach the proxy.
const CLOSED_PROXY: &str = " The installation has a proxy, which spec.network.egress.internet: Disabled does not open: the \
    rules of spec.network.egress.allow must name it.";

/// Computes the condition. `command` creates the credential in Entra.
pub(in crate::controller::status) fn judge(observed: &Observed<'_>, command: Option<&str>) -> Finding {
    let reports = observed.documents.iter().map(|document| Seen {
        outcome: document.federation.outcome,
        reason: &document.federation.reason,
        conclusive: document.federation.observed_at.is_some(),
    });
    let judged = observed.judge(ConditionType::FederationVerified, Reason::TokenAccepted, reports);
    let mut message = text(&judged, observed, command);
    // The text does not contain the issuer: an administrator must not make Entra trust an issuer that a
    // Pod reports.
    if observed.other_issuer && !observed.suspended {
        message.push_str("; ");
        message.push_str(OTHER_ISSUER);
    }
    judged.with_text(message)
}

/// Returns the text of `FederationVerified`. `command` creates the credential.
fn text(judged: &Judged<'_>, observed: &Observed<'_>, command: Option<&str>) -> String {
    if let Some(text) = judged.common_text() {
        return text;
    }
    let what = match judged.status {
        Status::True => return "Entra accepts this ServiceAccount's token as the application".to_owned(),
        Status::False => "Entra does not accept this ServiceAccount's token as the application.",
        Status::Unknown => "It is unknown whether Entra accepts this ServiceAccount's token.",
    };
    let known = FederationReason::ALL
        .iter()
        .find(|known| known.as_str() == judged.reason.as_str())
        .filter(|known| !matches!(known, FederationReason::Unknown));
    let Some(known) = known else {
        return format!(
            "{what} This version of the operator does not know the reason: read the log of container auth-sidecar, and \
             look up the correlation id from it in the sign-in logs of the tenant (service principal sign-ins)."
        );
    };
    let advice = match known {
        FederationReason::ResourceNotFound => observed.api.create_service_principal(),
        FederationReason::AppNotAssigned => observed.api.assign(),
        other => other.fix().to_owned(),
    };
    let mut text = format!("{what} {advice}");
    if let Some(running) = observed.running {
        text = text.replace(
            "system:serviceaccount:<namespace>:<service account>",
            &running.subject,
        );
    }
    if let Some(client_id) = observed.client_id {
        text = text.replace("<client id>", client_id);
    }
    if let Some(command) = command.filter(|_| wants_credential(judged.reason)) {
        text.push_str(" The command that creates the missing credential: ");
        text.push_str(command);
    }
    if observed.proxy_is_closed && judged.reason == Reason::Unreachable {
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
