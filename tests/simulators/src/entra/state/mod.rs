//! The state of the simulator. It is only in memory: a restart loses logins and keys.

mod credentials;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::clock::system_now;
use super::endpoints::Endpoints;
use super::failure::Failure;
use super::issuers::IssuerClients;
use super::keys::{KeyError, KeyRing};
use super::model::{Application, Consent, Directory, Effect, Fault, FederatedCredential, RequestKind, User};
use super::report::{Outcome, RequestRecord, SecretKind, SecretValue};
use super::scopes::{Requested, Resource};

/// The simulator behind its listeners.
pub(super) struct World {
    pub(super) endpoints: Endpoints,
    pub(super) issuers: IssuerClients,
    initial: Directory,
    state: Mutex<State>,
    released: watch::Sender<u64>,
}

/// The part of a login that codes and tokens keep.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) client_id: String,
    pub(super) object_id: String,
    pub(super) at: Timestamp,
    pub(super) profile: bool,
    /// The `claims` of the authorize request: the challenges this login met.
    pub(super) claims: Option<Value>,
}

/// A sign-in page that waits for its user.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) requested: Requested,
    pub(super) state: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) claims: Option<Value>,
    pub(super) prompt: Option<String>,
    pub(super) login_hint: Option<String>,
    pub(super) object_id: Option<String>,
}

/// The login and the request of an authorization code.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) login: Login,
    pub(super) redirect_uri: String,
    pub(super) requested: Requested,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) used: bool,
}

/// The login and the state of a refresh token.
#[derive(Debug, Clone)]
pub(super) struct RefreshToken {
    pub(super) login: Login,
    pub(super) last_used: Timestamp,
    pub(super) revoked: bool,
}

/// The age of one credential of one application.
struct Known {
    /// When it was created.
    since: Timestamp,
    /// Number of requests that presented the credential while it was propagating.
    presented: u64,
}

/// The state that requests and tests change.
pub(super) struct State {
    pub(super) directory: Directory,
    pub(super) keys: KeyRing,
    pub(super) pending: HashMap<String, Pending>,
    pub(super) codes: HashMap<String, Code>,
    pub(super) refresh_tokens: HashMap<String, RefreshToken>,
    /// Logins by `uti` of the access tokens made from them.
    pub(super) issued: HashMap<String, Login>,
    /// Object ids by browser session.
    pub(super) browsers: HashMap<String, String>,
    pub(super) faults: Vec<Fault>,
    pub(super) record: Vec<RequestRecord>,
    pub(super) secrets: HashSet<SecretKey>,
    known: HashMap<(String, FederatedCredential), Known>,
    requests: u64,
}

type SecretKey = (SecretKind, String);

impl World {
    pub(super) fn new(endpoints: Endpoints, directory: Directory) -> Result<Self, KeyError> {
        let state = State::new(directory.clone(), KeyRing::of_entra()?);
        Ok(Self {
            endpoints,
            issuers: IssuerClients::default(),
            initial: directory,
            state: Mutex::new(state),
            released: watch::Sender::new(0),
        })
    }

    /// Locks the state, also after a panic of another thread.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores the initial directory and new keys; removes logins, faults and records.
    pub(super) fn reset(&self) -> Result<(), KeyError> {
        let mut fresh = State::new(self.initial.clone(), KeyRing::of_entra()?);
        let mut state = self.lock();
        fresh.requests = state.requests;
        *state = fresh;
        drop(state);
        self.release();
        Ok(())
    }

    /// Ends all faults and lets held requests go on.
    pub(super) fn clear_faults(&self) {
        self.lock().faults.clear();
        self.release();
    }

    fn release(&self) {
        self.released.send_modify(|count| *count += 1);
    }

    /// The fault that hits this request, if one does. Counts it and notes it in the record.
    pub(super) fn take_fault(&self, number: u64, kind: RequestKind, client_id: &str) -> Option<Effect> {
        let mut state = self.lock();
        let hit = state.faults.iter_mut().position(|fault| {
            fault.times != Some(0)
                && (fault.requests.is_empty() || fault.requests.contains(&kind))
                && fault
                    .client_id
                    .as_deref()
                    .is_none_or(|one| one.eq_ignore_ascii_case(client_id))
        })?;
        let fault = state.faults.get_mut(hit)?;
        let effect = fault.effect.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                state.faults.remove(hit);
            }
        }
        if let Some(entry) = state.entry(number) {
            entry.fault = Some(format!("{effect:?}"));
        }
        Some(effect)
    }

    /// Waits until the faults are cleared.
    pub(super) fn held(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut released = self.released.subscribe();
        async move { drop(released.changed().await) }
    }
}

impl State {
    fn new(directory: Directory, keys: KeyRing) -> Self {
        let mut state = Self {
            directory: Directory {
                applications: Vec::new(),
                ..directory.clone()
            },
            keys,
            pending: HashMap::new(),
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            issued: HashMap::new(),
            browsers: HashMap::new(),
            faults: Vec::new(),
            record: Vec::new(),
            secrets: HashSet::new(),
            known: HashMap::new(),
            requests: 0,
        };
        state.directory.applications = directory.applications;
        for application in &state.directory.applications {
            for credential in &application.federated_credentials {
                let known = Known {
                    since: Timestamp::MIN,
                    presented: 0,
                };
                state
                    .known
                    .insert((application.client_id.clone(), credential.clone()), known);
            }
        }
        state
    }

    /// The simulator's time.
    pub(super) fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_secs(self.directory.settings.clock_offset_seconds);
        let now = system_now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// Starts a record and gives its number.
    pub(super) fn begin(&mut self, mut record: RequestRecord) -> u64 {
        self.requests += 1;
        record.number = self.requests;
        self.record.push(record);
        self.requests
    }

    pub(super) fn entry(&mut self, number: u64) -> Option<&mut RequestRecord> {
        self.record.iter_mut().rev().find(|entry| entry.number == number)
    }

    pub(super) fn finish(&mut self, number: u64, outcome: Outcome) {
        if let Some(entry) = self.entry(number) {
            entry.outcome = Some(outcome);
        }
    }

    pub(super) fn record_user(&mut self, number: u64, user: &str) {
        if let Some(entry) = self.entry(number) {
            entry.user = Some(user.to_owned());
        }
    }

    /// Remembers a secret value for leak tests.
    pub(super) fn keep_secret(&mut self, kind: SecretKind, value: &str) {
        if !value.is_empty() {
            self.secrets.insert((kind, value.to_owned()));
        }
    }

    /// All secret values, in a stable order.
    pub(super) fn secret_values(&self) -> Vec<SecretValue> {
        let mut values: Vec<_> = self
            .secrets
            .iter()
            .map(|(kind, value)| SecretValue {
                kind: *kind,
                value: value.clone(),
            })
            .collect();
        values.sort();
        values
    }

    /// Returns the application. If it does not exist or is disabled, the error is 700016 or 7000112.
    pub(super) fn application(&self, client_id: &str) -> Result<Application, Failure> {
        let application = self.directory.application(client_id).ok_or_else(|| {
            Failure::new(
                400,
                "unauthorized_client",
                700_016,
                format!("Application with identifier '{client_id}' was not found in the directory."),
            )
        })?;
        if !application.enabled {
            return Err(Failure::new(
                400,
                "unauthorized_client",
                7_000_112,
                format!("Application '{client_id}' is disabled."),
            ));
        }
        Ok(application.clone())
    }

    /// Returns a user who exists and is enabled. Otherwise the error is 50034 or 50057.
    pub(super) fn user(&self, object_id: &str) -> Result<User, Failure> {
        let user = self.directory.user_by_object_id(object_id).ok_or_else(|| {
            Failure::invalid_grant(50_034, "The user account does not exist in the directory.")
        })?;
        if !user.enabled {
            return Err(Failure::invalid_grant(50_057, "The user account is disabled."));
        }
        Ok(user.clone())
    }

    /// Whether this user or an administrator consented.
    pub(super) fn has_consent(&self, client_id: &str, resource: Resource, object_id: &str) -> bool {
        let Some(resource) = resource.application_id(client_id) else {
            return true;
        };
        self.directory.consents.iter().any(|consent| {
            consent.client_id.eq_ignore_ascii_case(client_id)
                && consent.resource.eq_ignore_ascii_case(resource)
                && consent.user.as_deref().is_none_or(|user| user == object_id)
        })
    }

    /// Records a user's consent to each of the resources.
    pub(super) fn consent(&mut self, client_id: &str, resources: &[Resource], object_id: &str) {
        for resource in resources {
            let Some(id) = resource.application_id(client_id) else {
                continue;
            };
            if !self.has_consent(client_id, *resource, object_id) {
                self.directory.consents.push(Consent {
                    client_id: client_id.to_owned(),
                    resource: id.to_owned(),
                    user: Some(object_id.to_owned()),
                });
            }
        }
    }
}
