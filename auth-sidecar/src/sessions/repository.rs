//! Loads, saves and compare-and-swaps the sealed records of sessions.

use std::sync::Arc;

use behalf_entra::Clock;
use jiff::{SignedDuration, Timestamp};

use super::error::{SessionError, Unavailable};
use super::later;
use super::record::Record;
use super::summary::{self, Summary};
use crate::keys::{KeyringHandle, OpenError, Purpose, RecordKind, RecordPlace, SealError};
use crate::session_id::{SessionId, SessionSecret};
use crate::store::{SessionStore, StoreError, StoreKey, Written};

/// Maximum number of attempts to change an entry that other requests change at the same time.
pub(super) const MAX_ATTEMPTS: usize = 8;

/// A call writes a later expiry only if it is later by at least the idle lifetime divided by this number. Most
/// calls do not write.
const TOUCH_FRACTION: i32 = 64;

/// The records of sessions in the store.
pub(super) struct SessionRepository {
    keyring: Arc<KeyringHandle>,
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    idle_lifetime: SignedDuration,
}

/// A record with its place in the store.
pub(super) struct Loaded {
    pub(super) record: Record,
    pub(super) revision: u64,
    pub(super) expires_at: Timestamp,
}

/// Why a record was not loaded.
#[derive(Debug)]
pub(super) enum LoadError {
    /// The session has expired, was revoked or never existed.
    Gone,

    /// The record exists under another secret.
    OtherSecret,

    /// The store or the keyring cannot decide whether the session exists.
    Unavailable(Unavailable),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Unavailable::Store(error))
    }
}

impl From<SealError> for LoadError {
    fn from(_: SealError) -> Self {
        Self::Unavailable(Unavailable::Sealing)
    }
}

impl From<LoadError> for SessionError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Gone | LoadError::OtherSecret => Self::Invalid,
            LoadError::Unavailable(source) => Self::unavailable(source),
        }
    }
}

/// The result of a removal. The store does not have the record any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// The record, which is removed.
    Removed,

    /// No record.
    Absent,

    /// No record at the second try. The first one, whose answer was lost, may have removed it.
    AnswerLost,
}

/// The decision of the closure that [`SessionRepository::change`] calls.
pub(super) enum Change<T> {
    /// Leaves the record unchanged.
    Nothing(T),

    /// Writes the record.
    Write(T),
}

impl SessionRepository {
    pub(super) fn new(
        keyring: Arc<KeyringHandle>,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        idle_lifetime: SignedDuration,
    ) -> Self {
        Self {
            keyring,
            store,
            clock,
            idle_lifetime,
        }
    }

    /// Moves the expiry of the session after a use. An error does not refuse the call: the next use moves the expiry
    /// again.
    pub(super) async fn extend(&self, id: &SessionId, loaded: &Loaded, now: Timestamp) {
        let end = self.idle_expiry(&loaded.record, now);
        let gain = end.duration_since(loaded.expires_at);
        if gain <= SignedDuration::ZERO || gain < self.idle_lifetime / TOUCH_FRACTION {
            return;
        }
        if let Err(error) = self.store.touch(&StoreKey::Session(*id), end).await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, session.id = %id, "Unable to extend session {id} after a use");
        }
    }

    /// Returns the expiry of a session that is used now and then never again.
    pub(super) fn idle_expiry(&self, record: &Record, now: Timestamp) -> Timestamp {
        later(now, self.idle_lifetime).min(record.ends_at)
    }

    /// Loads a record and opens it with the session's secret.
    pub(super) async fn load(&self, id: &SessionId, secret: &SessionSecret) -> Result<Loaded, LoadError> {
        let Some(entry) = self.store.get(&StoreKey::Session(*id)).await? else {
            return Err(LoadError::Gone);
        };
        let place = RecordPlace {
            kind: RecordKind::Session,
            id,
            secret,
            revision: entry.revision,
        };
        let (_, sealed) = summary::split(&entry.value).ok_or(LoadError::Gone)?;
        let plaintext = self
            .keyring
            .open_record(place, sealed)
            .map_err(|error| match error {
                OpenError::Seal => LoadError::OtherSecret,
                OpenError::UnknownKey {
                    rotation_pending: true,
                } => LoadError::Unavailable(Unavailable::Keyring),
                OpenError::UnknownKey { .. } | OpenError::Malformed => LoadError::Gone,
            })?;
        let record = Record::from_bytes(&plaintext).ok_or(LoadError::Gone)?;
        Ok(Loaded {
            record,
            revision: entry.revision,
            expires_at: entry.expires_at,
        })
    }

    /// Writes a record as the revision after `revision`.
    pub(super) async fn save(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
        revision: u64,
        record: &Record,
        expires_at: Timestamp,
    ) -> Result<Written, LoadError> {
        let place = RecordPlace {
            kind: RecordKind::Session,
            id,
            secret,
            revision: revision.saturating_add(1),
        };
        let sealed = self.keyring.seal_record(place, &record.to_bytes()?)?;
        let summary = Summary::new(id, record, self.clock.now());
        let summary = self.keyring.seal(Purpose::Summary, &summary)?;
        let value = summary::join(&summary, &sealed).ok_or(SealError)?;
        Ok(self
            .store
            .put(&StoreKey::Session(*id), revision, value, expires_at)
            .await?)
    }

    /// Loads a record, changes it and writes it. Starts again when another writer was faster.
    pub(super) async fn change<T>(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
        mut change: impl FnMut(&mut Record) -> Change<T> + Send,
    ) -> Result<T, LoadError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut loaded = self.load(id, secret).await?;
            let outcome = match change(&mut loaded.record) {
                Change::Nothing(outcome) => return Ok(outcome),
                Change::Write(outcome) => outcome,
            };
            let expires_at = self.idle_expiry(&loaded.record, self.clock.now());
            match self
                .save(id, secret, loaded.revision, &loaded.record, expires_at)
                .await?
            {
                Written::Stored => return Ok(outcome),
                Written::Conflict => {}
            }
        }
        Err(LoadError::Unavailable(Unavailable::Contention))
    }

    /// Removes a record, and its downstream token.
    pub(super) async fn remove(&self, id: &SessionId) -> Result<Removal, StoreError> {
        match self.store.remove(&StoreKey::Session(*id)).await {
            Ok(Some(_)) => Ok(Removal::Removed),
            Ok(None) => Ok(Removal::Absent),
            Err(StoreError::MayBeRemoved) => Ok(Removal::AnswerLost),
            Err(error) => Err(error),
        }
    }
}
