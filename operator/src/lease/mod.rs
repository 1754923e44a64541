//! The Lease of the operator: of several replicas, the one that holds it reconciles, the others wait.

mod decision;
mod last_seen;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use crate::error_chain::chain;
use crate::field_manager::FIELD_MANAGER;
use last_seen::LastSeen;

/// Time between two renewals, and between two looks at a Lease that another process holds.
const INTERVAL: Duration = Duration::from_secs(2);

/// Maximum duration of a request.
const REQUEST: Duration = Duration::from_secs(3);

/// A holder that could not renew for this long stops. Together with one request it is shorter than
/// [`decision::DURATION`], so that it has stopped before another process begins.
const DEADLINE: Duration = Duration::from_secs(8);

/// Why this process does not lead any more.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another process holds the Lease.
    #[error("another operator has taken the Lease {0}")]
    Taken(String),

    /// The API server has not renewed the Lease for too long. Another process may take it.
    #[error("the Lease {0} could not be renewed for {seconds} s", seconds = DEADLINE.as_secs())]
    NotRenewed(String),
}

/// Why one attempt to get or renew the Lease failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("the API server refused the Lease; the chart gives the operator get, create and update for it")]
    Refused(#[source] Box<kube::Error>),

    #[error("the API server did not answer within {} s", REQUEST.as_secs())]
    Silent,

    #[error("somebody else changes it at the same time")]
    Changing,
}

/// Which Lease, and who wants it.
pub struct LeaseOptions<'a> {
    /// The namespace of the Lease.
    pub namespace: &'a str,

    /// The name of the Lease.
    pub name: &'a str,

    /// Differs between the processes: the name of the Pod.
    pub identity: &'a str,
}

/// The right of this process to reconcile.
pub struct Leadership {
    /// Without a Lease this process is the only one.
    lock: Option<Lock>,
}

/// A Lease that this process wants or holds.
struct Lock {
    api: Api<Lease>,
    name: String,
    identity: String,
    clock: fn() -> Timestamp,
    seen: LastSeen,
}

impl Leadership {
    /// Without `options` this process leads from the beginning and never loses the right.
    pub fn new(client: Client, options: Option<LeaseOptions<'_>>, clock: fn() -> Timestamp) -> Self {
        let lock = options.map(|options| Lock {
            api: Api::namespaced(client, options.namespace),
            name: options.name.to_owned(),
            identity: options.identity.to_owned(),
            clock,
            seen: LastSeen::default(),
        });
        Self { lock }
    }

    /// Waits until this process leads. Calls `standing_by` after each look that finds another process leading.
    pub async fn acquire(&mut self, standing_by: impl Fn()) {
        if let Some(lock) = &mut self.lock {
            lock.acquire(standing_by).await;
        }
    }

    /// Renews the Lease for as long as this process leads, and returns why it does not any more.
    pub async fn renew_until_lost(&mut self) -> LeaseLost {
        match &mut self.lock {
            Some(lock) => lock.renew_until_lost().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the Lease back, so that another process leads at once. If this fails, the others wait until it ends.
    pub async fn release(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.release().await;
        }
    }
}

impl Lock {
    async fn acquire(&mut self, standing_by: impl Fn()) {
        let mut is_logged = false;
        loop {
            match self.attempt().await {
                Ok(true) => break,
                Ok(false) => {
                    if !is_logged {
                        tracing::info!(
                            lease.name = self.name,
                            lease.holder = self.seen.holder(),
                            "Operator stands by: another one leads"
                        );
                    }
                    is_logged = true;
                    standing_by();
                }
                Err(error) => self.failed(&error),
            }
            sleep(INTERVAL).await;
        }
        tracing::info!(lease.name = self.name, "Operator leads");
    }

    async fn renew_until_lost(&mut self) -> LeaseLost {
        loop {
            match timeout(DEADLINE, self.renew()).await {
                Ok(true) => {}
                Ok(false) => return LeaseLost::Taken(self.name.clone()),
                Err(_) => return LeaseLost::NotRenewed(self.name.clone()),
            }
        }
    }

    async fn release(&mut self) {
        if let Err(error) = self.try_release().await {
            tracing::warn!(
                lease.name = self.name,
                error = %chain(&error),
                "Unable to release the Lease {}; another operator leads after it expires ({} s)",
                self.name,
                decision::DURATION.as_secs()
            );
        }
    }

    /// Reads the Lease again if a renewal was in flight, so that the version is another one.
    async fn try_release(&mut self) -> Result<(), AttemptError> {
        for _ in 0..2 {
            let lease = match self.seen.remove() {
                Some(lease) => lease,
                None => match request(self.api.get_opt(&self.name)).await? {
                    Some(lease) => lease,
                    None => return Ok(()),
                },
            };
            let spec = lease.spec.unwrap_or_default();
            let Some(released) = decision::release(&self.identity, &spec, (self.clock)()) else {
                return Ok(());
            };
            let lease = Lease {
                spec: Some(released),
                ..lease
            };
            if self.write(&lease).await?.is_some() {
                return Ok(());
            }
        }
        Err(AttemptError::Changing)
    }

    /// Waits for the interval, then renews the Lease, again after each failure. False when another process holds it.
    async fn renew(&mut self) -> bool {
        loop {
            sleep(INTERVAL).await;
            match self.attempt().await {
                Ok(leads) => return leads,
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Takes or renews the Lease once. False while another process leads.
    async fn attempt(&mut self) -> Result<bool, AttemptError> {
        // A write that nobody answered may have been done: the second round reads what the Lease is now.
        for _ in 0..2 {
            // Its holder knows the Lease that it wrote. If somebody has changed it since, the API server refuses the write.
            if self.seen.holder() != self.identity {
                let found = request(self.api.get_opt(&self.name)).await?;
                self.seen.record(found, Instant::now());
            }
            tracing::trace!(
                lease.name = self.name,
                lease.holder = self.seen.holder(),
                "Operator decides about the Lease"
            );
            let lease = self.seen.lease();
            let spec = lease.and_then(|lease| lease.spec.as_ref());
            let unchanged_for = self.seen.unchanged_for(Instant::now());
            let Some(next) = decision::decide(&self.identity, spec, unchanged_for, (self.clock)()) else {
                return Ok(false);
            };
            let next = Lease {
                metadata: lease.map_or_else(|| self.new_metadata(), |lease| lease.metadata.clone()),
                spec: Some(next),
            };
            let written = self.write(&next).await?;
            let leads = written.is_some();
            self.seen.record(written, Instant::now());
            if leads {
                return Ok(true);
            }
        }
        Err(AttemptError::Changing)
    }

    /// Creates the Lease, or replaces the version that was read. `None` if another process was faster.
    async fn write(&self, lease: &Lease) -> Result<Option<Lease>, AttemptError> {
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = if lease.metadata.resource_version.is_none() {
            request(self.api.create(&parameters, lease)).await
        } else {
            request(self.api.replace(&self.name, &parameters, lease)).await
        };
        match written {
            Ok(lease) => Ok(Some(lease)),
            // 409: it exists, or has another version; 404: somebody deleted it.
            Err(AttemptError::Refused(error)) if matches!(&*error, kube::Error::Api(status) if [404, 409].contains(&status.code)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn new_metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        }
    }

    fn failed(&self, error: &AttemptError) {
        tracing::warn!(
            lease.name = self.name,
            error = %chain(error),
            "Unable to acquire or renew the Lease {}; trying again in {} s",
            self.name,
            INTERVAL.as_secs()
        );
    }
}

/// Limits a request, and says which kind of failure it met.
async fn request<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, AttemptError> {
    match timeout(REQUEST, request).await {
        Ok(answer) => answer.map_err(|error| AttemptError::Refused(Box::new(error))),
        Err(_) => Err(AttemptError::Silent),
    }
}
