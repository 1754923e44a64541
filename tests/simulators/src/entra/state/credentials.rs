//! The federated credentials of applications: limits, and the time that a new credential needs to reach all of
//! Entra's servers.

use std::collections::HashSet;

use jiff::SignedDuration;

use super::{Known, State};
use crate::entra::model::{Application, Directory, FederatedCredential};

/// Maximum number of federated credentials of an application.
const CREDENTIAL_LIMIT: usize = 20;

impl State {
    /// Returns the application's credentials that one token request sees. Only every second request that
    /// presents a propagating credential sees it. `presented` returns whether the request presents a
    /// credential.
    pub(in crate::entra) fn visible_credentials(
        &mut self,
        client_id: &str,
        presented: impl Fn(&FederatedCredential) -> bool,
    ) -> Vec<FederatedCredential> {
        let Some(application) = self.directory.application(client_id).cloned() else {
            return Vec::new();
        };
        let propagation = i64::try_from(self.directory.settings.federation_propagation_seconds);
        let propagation = SignedDuration::from_secs(propagation.unwrap_or(i64::MAX));
        let now = self.now();
        let mut visible = application.federated_credentials;
        visible.retain(|credential| {
            let place = (application.client_id.clone(), credential.clone());
            let Some(known) = self.known.get_mut(&place) else {
                return true;
            };
            if known
                .since
                .checked_add(propagation)
                .is_ok_and(|settled| settled <= now)
            {
                return true;
            }
            if !presented(credential) {
                return false;
            }
            known.presented += 1;
            known.presented.is_multiple_of(2)
        });
        visible
    }

    /// Replaces an application, refusing what Entra refuses of its credentials.
    pub(in crate::entra) fn put_application(&mut self, application: Application) -> Result<(), String> {
        check_credentials(&application.federated_credentials)?;
        let now = self.now();
        for credential in &application.federated_credentials {
            self.known
                .entry((application.client_id.clone(), credential.clone()))
                .or_insert(Known {
                    since: now,
                    presented: 0,
                });
        }
        self.known.retain(|(client_id, credential), _| {
            *client_id != application.client_id || application.federated_credentials.contains(credential)
        });
        match self.directory.application_mut(&application.client_id) {
            Some(present) => *present = application,
            None => self.directory.applications.push(application),
        }
        Ok(())
    }

    /// Replaces the directory. Existing credentials keep their age.
    pub(in crate::entra) fn put_directory(&mut self, mut directory: Directory) -> Result<(), String> {
        for application in &directory.applications {
            check_credentials(&application.federated_credentials)?;
        }
        let applications = std::mem::take(&mut directory.applications);
        self.directory = Directory {
            applications: std::mem::take(&mut self.directory.applications),
            ..directory
        };
        self.directory.applications.retain(|present| {
            applications
                .iter()
                .any(|wanted| wanted.client_id == present.client_id)
        });
        applications
            .into_iter()
            .try_for_each(|application| self.put_application(application))
    }
}

/// Checks the limits of Entra: at most twenty credentials, and each pair of issuer and subject once.
fn check_credentials(credentials: &[FederatedCredential]) -> Result<(), String> {
    if credentials.len() > CREDENTIAL_LIMIT {
        return Err(format!(
            "an application has at most {CREDENTIAL_LIMIT} federated credentials"
        ));
    }
    let mut seen = HashSet::new();
    for credential in credentials {
        if credential.issuer.is_empty() || credential.subject.is_empty() || credential.audience.is_empty() {
            return Err("issuer, subject and audience of a federated credential are required".to_owned());
        }
        if !seen.insert((&credential.issuer, &credential.subject)) {
            return Err(format!(
                "issuer and subject must be unique: '{}', '{}' appear twice",
                credential.issuer, credential.subject
            ));
        }
    }
    Ok(())
}
