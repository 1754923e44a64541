//! Opens, loads, changes and ends the sessions of this server.

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::SessionsConfig;
use behalf_entra::{Clock, EntraClient, Secret, TokenSet, UserIdentity};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::end_signal::{Lifeline, Lifelines};
use super::error::{SessionError, Unavailable};
use super::grant::{ClientDigest, ClientTokens, Grant};
use super::per_user::UserDigest;
use super::record::Record;
use super::renewals::Renewals;
use super::session_id::{SessionId, SessionSecret};
use crate::access::Scopes;
use crate::keys::{KeyringHandle, OpenError, Purpose, Random, RecordPlace, SealError};
use crate::limits::weak_map::Registry;
use crate::store::{SessionStore, StoreError, StoreKey, Written};

/// How often a change is tried again when other requests change the same entry.
pub(super) const MOST_TRIES: usize = 8;

/// Use moves a session's end only when it gains at least this fraction of the idle lifetime, so that most
/// calls do not write.
const TOUCH_FRACTION: i32 = 64;

/// The lifetimes, and what sessions are for.
#[derive(Clone, Debug)]
pub struct SessionRules {
    /// The one resource (RFC 8707) that session keys are good for.
    pub resource: String,

    /// The scope of the user's token for this application.
    pub entra_scope: String,

    /// Life of a session key.
    pub access_token_lifetime: SignedDuration,

    /// A session that nobody used for so long ends.
    pub idle_lifetime: SignedDuration,

    /// A session ends so long after the login, used or not.
    pub maximum_lifetime: SignedDuration,

    /// A used refresh token gets the same generation again for so long.
    pub refresh_grace: SignedDuration,
}

impl SessionRules {
    /// The rules that the configuration gives. `entra_scope` is what the login asks Entra for.
    pub fn new(config: &SessionsConfig, resource: impl Into<String>, entra_scope: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            entra_scope: entra_scope.into(),
            access_token_lifetime: seconds(config.access_token_lifetime_seconds),
            idle_lifetime: seconds(config.idle_lifetime_seconds),
            maximum_lifetime: seconds(config.maximum_lifetime_seconds),
            refresh_grace: seconds(config.refresh_grace_seconds),
        }
    }
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// A moment later; the end of time when there is no such moment.
pub(super) fn later(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Every session of this server.
pub struct Sessions {
    pub(super) rules: SessionRules,
    pub(super) keyring: Arc<KeyringHandle>,
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) entra: EntraClient,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) renewals: Renewals,
    pub(super) lifelines: Lifelines,
    /// Serializes the counting of one user's logins. Logins of other users do not wait.
    pub(super) counting: Registry<UserDigest, Mutex<()>>,
}

/// A session whose key a client presented, as it was at that moment.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Names the session in logs.
    pub id: SessionId,

    /// The user who signed in.
    pub user: UserIdentity,

    /// The client that the user signed in through.
    pub client_id: String,

    /// Scopes of the session key.
    pub scopes: Scopes,

    /// When the user signed in at Entra.
    pub signed_in_at: Timestamp,

    /// End of the session key.
    pub expires_at: Timestamp,

    /// End of the session, however much it is used.
    pub ends_at: Timestamp,

    pub(super) secret: SessionSecret,
    pub(crate) tokens: Arc<TokenSet>,
    pub(super) lifeline: Lifeline,
}

impl OpenSession {
    /// Returns when the session is ended in this process: revoked, used up, or given up by Entra. What goes on
    /// in its name ends then.
    pub async fn ended(&self) {
        self.lifeline.ended().await;
    }

    pub(crate) fn lifeline(&self) -> Lifeline {
        self.lifeline.clone()
    }
}

/// A record as the store has it.
pub(super) struct Loaded {
    pub(super) record: Record,
    pub(super) revision: u64,
    pub(super) expires_at: Timestamp,
}

/// Why a record is not there.
#[derive(Debug)]
pub(super) enum LoadError {
    /// Expired, revoked, never there.
    Gone,

    /// There, under another secret.
    OtherSecret,

    /// Not to be told.
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

/// The decision of a change about the record that it was given.
pub(super) enum Change<T> {
    /// Leaves it as it is.
    Nothing(T),

    /// Writes it.
    Write(T),
}

impl Sessions {
    /// The sessions that `store` keeps.
    pub fn new(
        rules: SessionRules,
        keyring: Arc<KeyringHandle>,
        store: Arc<dyn SessionStore>,
        entra: EntraClient,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            rules,
            keyring,
            store,
            entra,
            clock,
            random,
            renewals: Renewals::default(),
            lifelines: Lifelines::default(),
            counting: Registry::default(),
        }
    }

    /// The one resource that session keys are good for.
    pub fn resource(&self) -> &str {
        &self.rules.resource
    }

    /// The time from now until `moment`; none when it has passed.
    pub(crate) fn until(&self, moment: Timestamp) -> Duration {
        Duration::try_from(moment.duration_since(self.clock.now())).unwrap_or_default()
    }

    /// True when the user of `session` signed in at most this long ago.
    pub(crate) fn signed_in_within(&self, session: &OpenSession, time: SignedDuration) -> bool {
        self.clock.now().duration_since(session.signed_in_at) <= time
    }

    /// Where they are kept, for metrics and readiness.
    pub fn store(&self) -> &dyn SessionStore {
        self.store.as_ref()
    }

    /// Opens a session key that a client presented in `Authorization`. Counts as use.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] for anything but a session key of a living session of this resource;
    /// [`SessionError::Unavailable`] when that cannot be told.
    pub async fn open(&self, access_token: &Secret) -> Result<OpenSession, SessionError> {
        let now = self.clock.now();
        let grant: Grant = self.keyring.open(Purpose::Access, access_token.expose())?;
        if grant.expires_at <= now || grant.resource != self.rules.resource {
            return Err(SessionError::Invalid);
        }
        let lifeline = self.lifelines.hold(grant.id);
        let loaded = self.load(&grant.id, &grant.secret).await?;
        let record = &loaded.record;
        // Without a family the code was never redeemed, so that nobody can hold a session key.
        let is_whole = record.family.is_some() && ClientDigest::of(&record.client_id) == grant.client;
        if !is_whole || record.ends_at <= now {
            return Err(SessionError::Invalid);
        }
        self.count_as_use(&grant.id, &loaded, now).await;
        let Loaded { record, .. } = loaded;
        Ok(OpenSession {
            id: grant.id,
            user: record.user,
            client_id: record.client_id,
            scopes: grant.scopes,
            signed_in_at: record.signed_in_at,
            expires_at: grant.expires_at.min(record.ends_at),
            ends_at: record.ends_at,
            secret: grant.secret,
            tokens: record.tokens,
            lifeline,
        })
    }

    /// Moves the end of an unused session. A failure is no reason to refuse a good key: the next use moves
    /// it again.
    async fn count_as_use(&self, id: &SessionId, loaded: &Loaded, now: Timestamp) {
        let end = self.end_of_idleness(&loaded.record, now);
        let gain = end.duration_since(loaded.expires_at);
        if gain <= SignedDuration::ZERO || gain < self.rules.idle_lifetime / TOUCH_FRACTION {
            return;
        }
        if let Err(error) = self.store.touch(&StoreKey::Session(*id), end).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, session.id = %id, "Unable to note the use of session {id}");
        }
    }

    pub(super) fn end_of_idleness(&self, record: &Record, now: Timestamp) -> Timestamp {
        later(now, self.rules.idle_lifetime).min(record.ends_at)
    }

    pub(super) async fn load(&self, id: &SessionId, secret: &SessionSecret) -> Result<Loaded, LoadError> {
        let Some(entry) = self.store.get(&StoreKey::Session(*id)).await? else {
            return Err(LoadError::Gone);
        };
        let place = RecordPlace {
            id,
            secret,
            revision: entry.revision,
        };
        let plaintext = self
            .keyring
            .open_record(place, &entry.value)
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
            id,
            secret,
            revision: revision.saturating_add(1),
        };
        let value = self.keyring.seal_record(place, &record.to_bytes()?)?;
        Ok(self
            .store
            .put(&StoreKey::Session(*id), revision, value, expires_at)
            .await?)
    }

    /// Reads, changes and writes a record; again when somebody else wrote in between.
    pub(super) async fn change<T>(
        &self,
        id: &SessionId,
        secret: &SessionSecret,
        mut change: impl FnMut(&mut Record) -> Change<T> + Send,
    ) -> Result<T, LoadError> {
        for _ in 0..MOST_TRIES {
            let mut loaded = self.load(id, secret).await?;
            let outcome = match change(&mut loaded.record) {
                Change::Nothing(outcome) => return Ok(outcome),
                Change::Write(outcome) => outcome,
            };
            let expires_at = self.end_of_idleness(&loaded.record, self.clock.now());
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

    /// Ends a session, and what is open of it. True when there was one.
    pub(super) async fn end(&self, id: &SessionId) -> Result<bool, StoreError> {
        let ended = self.store.take(&StoreKey::Session(*id)).await?.is_some();
        self.lifelines.cut(id);
        Ok(ended)
    }

    /// A session key and a refresh token of one generation.
    pub(super) fn client_tokens(&self, issue: &Issue<'_>) -> Result<ClientTokens, SealError> {
        let Issue {
            id,
            secret,
            record,
            generation,
            scopes,
            now,
        } = *issue;
        let expires_at = later(now, self.rules.access_token_lifetime).min(record.ends_at);
        let access = Grant {
            id: *id,
            secret: secret.clone(),
            generation,
            client: ClientDigest::of(&record.client_id),
            resource: self.rules.resource.clone(),
            scopes,
            expires_at,
        };
        let refresh = Grant {
            scopes: record.scopes,
            expires_at: record.ends_at,
            ..access.clone()
        };
        Ok(ClientTokens {
            access_token: Secret::new(self.keyring.seal(Purpose::Access, &access)?),
            refresh_token: Secret::new(self.keyring.seal(Purpose::Refresh, &refresh)?),
            expires_in_seconds: u64::try_from(expires_at.duration_since(now).as_secs()).unwrap_or_default(),
            scopes,
        })
    }
}

/// What tokens are made of.
pub(super) struct Issue<'a> {
    pub(super) id: &'a SessionId,
    pub(super) secret: &'a SessionSecret,
    pub(super) record: &'a Record,
    pub(super) generation: u64,
    pub(super) scopes: Scopes,
    pub(super) now: Timestamp,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sessions")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
