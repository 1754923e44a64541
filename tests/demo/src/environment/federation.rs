//! Creates the federated identity credential, as an administrator does.

use std::time::Duration;

use super::{Conditions, EnvironmentError};
use behalf_simulators::entra::{Control, FederatedCredential};
use behalf_simulators::people::CLIENT_ID;

/// Does at the Entra simulator what the administrator does at Entra with the line in
/// `status.federation.command`: creates the federated identity credential that the status asks for, and
/// registers the redirect URI. Returns true if the credential was missing, and then only when the new one has
/// propagated, as an administrator waits before users sign in.
pub async fn create_federated_credential(
    entra: &Control,
    name: &str,
    conditions: &Conditions,
) -> Result<bool, EnvironmentError> {
    let text = |key: &str| {
        conditions
            .status
            .pointer(&format!("/federation/{key}"))
            .and_then(serde_json::Value::as_str)
    };
    let (Some(issuer), Some(subject), Some(audience), Some(redirect_uri)) = (
        text("issuer"),
        text("subject"),
        text("audience"),
        text("redirectUri"),
    ) else {
        return Err(EnvironmentError::TimedOut {
            what: format!("{name}: status.federation with issuer, subject, audience and redirectUri"),
            seconds: 0,
            seen: conditions.status.to_string(),
        });
    };
    let credential = FederatedCredential {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        audience: audience.to_owned(),
    };
    let mut missing = false;
    entra
        .update_application(CLIENT_ID, |application| {
            missing = !application.federated_credentials.contains(&credential);
            if missing {
                application.federated_credentials.push(credential);
            }
            if !application
                .redirect_uris
                .iter()
                .any(|known| known == redirect_uri)
            {
                application.redirect_uris.push(redirect_uri.to_owned());
            }
        })
        .await
        .map_err(EnvironmentError::control(format!(
            "create the federated credential for {name}"
        )))?;
    if missing {
        let settings = entra
            .settings()
            .await
            .map_err(EnvironmentError::control("read the simulator's settings"))?;
        tokio::time::sleep(Duration::from_secs(settings.federation_propagation_seconds)).await;
    }
    Ok(missing)
}
