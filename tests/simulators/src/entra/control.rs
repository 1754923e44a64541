//! The typed client of the control port: the same for a simulator in process and for one in a Pod.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::model::{
    Application, Consent, Directory, Fault, FederatedCredential, IssuerAccess, Policy, RequestKind, Settings,
    User,
};
use super::report::{MintRequest, Minted, RequestRecord, SecretValue};
use crate::control::{ControlError, ControlPort};

/// Commands and questions to a running Entra simulator.
#[derive(Debug, Clone)]
pub struct Control {
    port: ControlPort,
    changing: Arc<Mutex<()>>,
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Control {
    /// The control port at this address.
    pub fn new(base: Url) -> Result<Self, ControlError> {
        Ok(Self {
            port: ControlPort::new(base)?,
            changing: Arc::default(),
        })
    }

    /// Its address.
    pub fn base(&self) -> &Url {
        self.port.base()
    }

    /// Whether it answers.
    pub async fn health(&self) -> Result<(), ControlError> {
        self.port.command(Method::GET, "health", None::<&()>).await
    }

    /// Everything the simulator plays at this moment.
    pub async fn directory(&self) -> Result<Directory, ControlError> {
        self.port.get("directory").await
    }

    /// Replaces everything the simulator plays; logins and tokens stay.
    pub async fn put_directory(&self, directory: &Directory) -> Result<(), ControlError> {
        self.port.command(Method::PUT, "directory", Some(directory)).await
    }

    /// One application.
    pub async fn application(&self, client_id: &str) -> Result<Application, ControlError> {
        self.port
            .get(&format!("applications/{}", segment(client_id)))
            .await
    }

    /// Adds or replaces an application.
    pub async fn put_application(&self, application: &Application) -> Result<(), ControlError> {
        let path = format!("applications/{}", segment(&application.client_id));
        self.port.command(Method::PUT, &path, Some(application)).await
    }

    /// Reads an application, changes it, writes it back. Other changes through this value and its clones wait meanwhile.
    pub async fn update_application(
        &self,
        client_id: &str,
        change: impl FnOnce(&mut Application) + Send,
    ) -> Result<(), ControlError> {
        let _changing = self.changing.lock().await;
        let mut application = self.application(client_id).await?;
        change(&mut application);
        self.put_application(&application).await
    }

    /// Removes an application from the tenant.
    pub async fn delete_application(&self, client_id: &str) -> Result<(), ControlError> {
        let path = format!("applications/{}", segment(client_id));
        self.port.command(Method::DELETE, &path, None::<&()>).await
    }

    /// Replaces an application's federated credentials. Refused beyond 20, and for duplicates.
    pub async fn put_federated_credentials(
        &self,
        client_id: &str,
        credentials: &[FederatedCredential],
    ) -> Result<(), ControlError> {
        let path = format!("applications/{}/federated-credentials", segment(client_id));
        self.port.command(Method::PUT, &path, Some(&credentials)).await
    }

    /// Adds one federated credential.
    pub async fn add_federated_credential(
        &self,
        client_id: &str,
        credential: &FederatedCredential,
    ) -> Result<(), ControlError> {
        let path = format!("applications/{}/federated-credentials", segment(client_id));
        self.port.command(Method::POST, &path, Some(credential)).await
    }

    /// Registers one more redirect URI.
    pub async fn add_redirect_uri(&self, client_id: &str, uri: &str) -> Result<(), ControlError> {
        let path = format!("applications/{}/redirect-uris", segment(client_id));
        self.port.command(Method::POST, &path, Some(&uri)).await
    }

    /// Adds or replaces a user.
    pub async fn put_user(&self, user: &User) -> Result<(), ControlError> {
        self.port
            .command(Method::PUT, &format!("users/{}", segment(&user.name)), Some(user))
            .await
    }

    /// Reads a user, changes it, writes it back. Does nothing for a user who does not exist.
    pub async fn update_user(
        &self,
        name: &str,
        change: impl FnOnce(&mut User) + Send,
    ) -> Result<(), ControlError> {
        let Some(mut user) = self.directory().await?.user(name).cloned() else {
            return Ok(());
        };
        change(&mut user);
        self.put_user(&user).await
    }

    /// Deletes a user.
    pub async fn delete_user(&self, name: &str) -> Result<(), ControlError> {
        self.port
            .command(Method::DELETE, &format!("users/{}", segment(name)), None::<&()>)
            .await
    }

    /// "Revoke sessions": the user's refresh tokens answer 50173 from now on.
    pub async fn revoke(&self, name: &str) -> Result<(), ControlError> {
        self.port
            .command(
                Method::POST,
                &format!("users/{}/revoke", segment(name)),
                None::<&()>,
            )
            .await
    }

    /// Makes the user's refresh tokens look unused for too long: 700082.
    pub async fn expire_refresh_tokens(&self, name: &str) -> Result<(), ControlError> {
        self.port
            .command(
                Method::POST,
                &format!("users/{}/expire", segment(name)),
                None::<&()>,
            )
            .await
    }

    /// Replaces the policies of a user (by name) or of an application (by client id).
    pub async fn put_policies(&self, subject: &str, policies: &[Policy]) -> Result<(), ControlError> {
        self.port
            .command(
                Method::PUT,
                &format!("policies/{}", segment(subject)),
                Some(&policies),
            )
            .await
    }

    /// Replaces the consent store.
    pub async fn put_consents(&self, consents: &[Consent]) -> Result<(), ControlError> {
        self.port.command(Method::PUT, "consents", Some(&consents)).await
    }

    /// Lifetimes, clock and delays.
    pub async fn settings(&self) -> Result<Settings, ControlError> {
        self.port.get("settings").await
    }

    /// Reads the settings, changes them, writes them back.
    pub async fn update_settings(
        &self,
        change: impl FnOnce(&mut Settings) + Send,
    ) -> Result<(), ControlError> {
        let mut settings = self.settings().await?;
        change(&mut settings);
        self.port.command(Method::PUT, "settings", Some(&settings)).await
    }

    /// Sets the difference between the simulator's clock and the machine's, in seconds.
    pub async fn set_clock_offset(&self, seconds: i64) -> Result<(), ControlError> {
        self.update_settings(|settings| settings.clock_offset_seconds = seconds)
            .await
    }

    /// Replaces how issuers are reached.
    pub async fn put_issuers(&self, issuers: &[IssuerAccess]) -> Result<(), ControlError> {
        self.port.command(Method::PUT, "issuers", Some(&issuers)).await
    }

    /// Adds a fault; earlier ones are used up first.
    pub async fn add_fault(&self, fault: &Fault) -> Result<(), ControlError> {
        self.port.command(Method::POST, "faults", Some(fault)).await
    }

    /// Ends all faults and lets held requests go on.
    pub async fn clear_faults(&self) -> Result<(), ControlError> {
        self.port.command(Method::DELETE, "faults", None::<&()>).await
    }

    /// Makes a new signing key; the old ones leave the key set when `withdraw_old`.
    pub async fn rotate_keys(&self, withdraw_old: bool) -> Result<(), ControlError> {
        let body = json!({ "withdrawOld": withdraw_old });
        self.port.command(Method::POST, "keys/rotate", Some(&body)).await
    }

    /// Makes a token without a login.
    pub async fn mint(&self, wanted: &MintRequest) -> Result<String, ControlError> {
        let minted: Minted = self.port.exchange(Method::POST, "tokens", wanted).await?;
        Ok(minted.token)
    }

    /// The redacted record, oldest first.
    pub async fn requests(&self) -> Result<Vec<RequestRecord>, ControlError> {
        self.requests_after(0).await
    }

    /// The redacted record from the request after this number on.
    pub async fn requests_after(&self, number: u64) -> Result<Vec<RequestRecord>, ControlError> {
        self.port.get(&format!("requests?after={number}")).await
    }

    /// The redacted record of one kind of request, oldest first.
    pub async fn requests_of(&self, kind: RequestKind) -> Result<Vec<RequestRecord>, ControlError> {
        let mut requests = self.requests().await?;
        requests.retain(|request| request.kind == kind);
        Ok(requests)
    }

    /// Every secret value that was issued or received. **For leak tests only.**
    pub async fn secrets(&self) -> Result<Vec<SecretValue>, ControlError> {
        self.port.get("secrets").await
    }

    /// Back to the directory it started with: new keys, no logins, no faults, empty records.
    pub async fn reset(&self) -> Result<(), ControlError> {
        self.port.command(Method::POST, "reset", None::<&()>).await
    }
}
