//! Loads, saves and compare-and-swaps the sealed records of sessions.

use std::sync::Arc;

use behalf_entra::{Clock, TokenSet};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::error::{SessionError, Unavailable};
use super::later;
use super::record::{Record, UserTokenFacts, tokens_to_bytes};
use super::summary::{SealedSession, Summary};
use crate::keys::{KeyringHandle, OpenError, Purpose, RecordContext, RecordKind, SealError};
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

/// A record with its place in the store, and the user's tokens, which are still sealed.
pub(super) struct LoadedRecord {
    pub(super) record: Record,
    pub(super) user_token: UserTokenFacts,
    pub(super) tokens: SealedTokens,
    pub(super) revision: u64,
    pub(super) expires_at: Timestamp,
}

/// The user's tokens as the store has them.
#[derive(Clone)]
pub(super) struct SealedTokens {
    sealed: Vec<u8>,
    revision: u64,
    user_token: UserTokenFacts,
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
    pub(super) async fn extend(&self, id: &SessionId, loaded: &LoadedRecord, now: Timestamp) {
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
    pub(super) async fn load(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
    ) -> Result<LoadedRecord, LoadError> {
        let Some(entry) = self.store.get(&StoreKey::Session(*id)).await? else {
            return Err(LoadError::Gone);
        };
        let context = RecordContext {
            kind: RecordKind::Session,
            id,
            secret,
            revision: entry.revision,
        };
        let parts = SealedSession::of(&entry.value).ok_or(LoadError::Gone)?;
        let plaintext = self.open_part(context, parts.record)?;
        let (record, user_token) = Record::from_bytes(&plaintext).ok_or(LoadError::Gone)?;
        let tokens = SealedTokens {
            sealed: parts.tokens.to_vec(),
            revision: entry.revision,
            user_token,
        };
        Ok(LoadedRecord {
            record,
            user_token,
            tokens,
            revision: entry.revision,
            expires_at: entry.expires_at,
        })
    }

    /// Opens the user's tokens with the session's secret.
    pub(super) fn open_tokens(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
        tokens: &SealedTokens,
    ) -> Result<TokenSet, LoadError> {
        let context = RecordContext {
            kind: RecordKind::Tokens,
            id,
            secret,
            revision: tokens.revision,
        };
        let opened = match self.open_part(context, &tokens.sealed) {
            Ok(plaintext) => tokens.user_token.read(&Zeroizing::new(plaintext)),
            // The record opened with this secret.
            Err(LoadError::OtherSecret) => None,
            Err(error) => return Err(error),
        };
        opened.ok_or_else(|| {
            tracing::warn!(
                session.id = %id,
                "The tokens of session {id} are not those of its record: somebody changed the store, and the user must sign in again"
            );
            LoadError::Gone
        })
    }

    fn open_part(&self, context: RecordContext<'_>, sealed: &[u8]) -> Result<Vec<u8>, LoadError> {
        self.keyring
            .open_record(context, sealed)
            .map_err(|error| match error {
                OpenError::Seal => LoadError::OtherSecret,
                OpenError::UnknownKey {
                    rotation_pending: true,
                } => LoadError::Unavailable(Unavailable::Keyring),
                OpenError::UnknownKey { .. } | OpenError::Malformed => LoadError::Gone,
            })
    }

    /// Loads a record and the user's tokens, and opens both with the session's secret.
    pub(super) async fn load_with_tokens(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
    ) -> Result<(LoadedRecord, Arc<TokenSet>), LoadError> {
        let loaded = self.load(id, secret).await?;
        let tokens = self.open_tokens(id, secret, &loaded.tokens)?;
        Ok((loaded, Arc::new(tokens)))
    }

    /// Writes a record and the user's tokens as the revision after `revision`.
    pub(super) async fn save(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
        revision: u64,
        record: &Record,
        tokens: &TokenSet,
        expires_at: Timestamp,
    ) -> Result<Written, LoadError> {
        let context = |kind| RecordContext {
            kind,
            id,
            secret,
            revision: revision.saturating_add(1),
        };
        let summary = Summary::new(id, record, self.clock.now());
        let plaintext = record.to_bytes(&UserTokenFacts::of(tokens))?;
        let parts = SealedSession {
            summary: &self.keyring.seal(Purpose::Summary, &summary)?,
            record: &self
                .keyring
                .seal_record(context(RecordKind::Session), &plaintext)?,
            tokens: &self
                .keyring
                .seal_record(context(RecordKind::Tokens), &tokens_to_bytes(tokens)?)?,
        };
        let value = parts.join().ok_or(SealError)?;
        Ok(self
            .store
            .put(&StoreKey::Session(*id), revision, value, expires_at)
            .await?)
    }

    /// Loads a record, changes it or the user's tokens, and writes both. Starts again when another writer was faster.
    pub(super) async fn change<T>(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
        mut change: impl FnMut(&mut Record, &mut Arc<TokenSet>) -> Change<T> + Send,
    ) -> Result<T, LoadError> {
        for _ in 0..MAX_ATTEMPTS {
            let (mut loaded, mut tokens) = self.load_with_tokens(id, secret).await?;
            let outcome = match change(&mut loaded.record, &mut tokens) {
                Change::Nothing(outcome) => return Ok(outcome),
                Change::Write(outcome) => outcome,
            };
            let expires_at = self.idle_expiry(&loaded.record, self.clock.now());
            match self
                .save(id, secret, loaded.revision, &loaded.record, &tokens, expires_at)
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
