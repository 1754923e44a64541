//! A typed client of the control port, in process or through a forwarded port.

use std::collections::BTreeMap;

use http::Method;
use url::Url;

use super::{BuildChange, NewBuild, Planted};
use crate::{
    azure_devops::{
        fault::Fault,
        permissions::Permissions,
        record::RecordedCall,
        state::{Endpoints, Settings},
    },
    control::{ControlError, ControlPort},
};

/// Speaks to a simulator's control port.
#[derive(Debug, Clone)]
pub struct Control {
    port: ControlPort,
}

impl Control {
    /// A client of the control port at `base`.
    pub fn new(base: Url) -> Result<Self, ControlError> {
        Ok(Self {
            port: ControlPort::new(base)?,
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

    /// The addresses of the three services.
    pub async fn endpoints(&self) -> Result<Endpoints, ControlError> {
        self.port.get("endpoints").await
    }

    /// Every call since the last reset, oldest first.
    pub async fn record(&self) -> Result<Vec<RecordedCall>, ControlError> {
        self.port.get("record").await
    }

    /// Forgets the calls; keeps the tokens.
    pub async fn clear_record(&self) -> Result<(), ControlError> {
        self.port.command(Method::DELETE, "record", None::<&()>).await
    }

    /// Every bearer token ever received, good or bad. For leak tests; never print it.
    pub async fn tokens(&self) -> Result<Vec<String>, ControlError> {
        self.port.get("tokens").await
    }

    /// Returns the text that is planted in the logs.
    pub async fn planted(&self) -> Result<Planted, ControlError> {
        self.port.get("planted").await
    }

    /// Makes the next matching calls fail.
    pub async fn fault(&self, fault: &Fault) -> Result<(), ControlError> {
        self.port.command(Method::POST, "faults", Some(fault)).await
    }

    /// The faults that are still to come.
    pub async fn faults(&self) -> Result<Vec<Fault>, ControlError> {
        self.port.get("faults").await
    }

    /// No more faults.
    pub async fn clear_faults(&self) -> Result<(), ControlError> {
        self.port.command(Method::DELETE, "faults", None::<&()>).await
    }

    /// Returns the current settings.
    pub async fn settings(&self) -> Result<Settings, ControlError> {
        self.port.get("settings").await
    }

    /// Changes how the service behaves.
    pub async fn change_settings(&self, settings: &Settings) -> Result<(), ControlError> {
        self.port.command(Method::PUT, "settings", Some(settings)).await
    }

    /// The rights of everybody, by `oid`.
    pub async fn permissions(&self) -> Result<BTreeMap<String, Permissions>, ControlError> {
        self.port.get("permissions").await
    }

    /// Replaces the rights of one user. Somebody new becomes a member of the organization.
    pub async fn change_permissions(
        &self,
        object_id: &str,
        permissions: &Permissions,
    ) -> Result<(), ControlError> {
        self.port
            .command(
                Method::PUT,
                &format!("permissions/{object_id}"),
                Some(permissions),
            )
            .await
    }

    /// Makes a user unknown to the organization: answers are `TF401444` from now on.
    pub async fn forget_user(&self, object_id: &str) -> Result<(), ControlError> {
        self.port
            .command(Method::DELETE, &format!("permissions/{object_id}"), None::<&()>)
            .await
    }

    /// Adds builds; gives their ids.
    pub async fn add_builds(&self, new: &NewBuild) -> Result<Vec<u32>, ControlError> {
        self.port.exchange(Method::POST, "builds", new).await
    }

    /// Lets a build go on, or end.
    pub async fn change_build(&self, id: u32, change: &BuildChange) -> Result<(), ControlError> {
        self.port
            .command(Method::PATCH, &format!("builds/{id}"), Some(change))
            .await
    }

    /// Back to the beginning: data, rights, settings, faults, counters and record. The tokens stay.
    pub async fn reset(&self) -> Result<(), ControlError> {
        self.port.command(Method::POST, "reset", None::<&()>).await
    }
}
