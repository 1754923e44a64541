//! A session store in Redis 7 or Valkey 8: several replicas share it, and sessions survive restarts.
//!
//! - [`settings`]: the configured addresses, checked
//! - [`credentials`]: user and password, read again when they change
//! - [`entra_credentials`]: user and password from Entra
//! - [`error`]: errors of Redis as errors of a session store
//! - [`node_names`]: the names of a cluster's nodes in their certificates
//! - [`client`]: an open connection, to a server or to a cluster
//! - [`connection`]: one shared connection, opened on demand
//! - [`outage_log`]: which failures are logged
//! - [`commands`]: the commands and the names of keys
//! - [`announcements`]: messages between replicas
//! - [`scan`]: the list of all sessions

mod announcements;
mod client;
mod commands;
mod connection;
mod credentials;
mod entra_credentials;
mod error;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod node_names;
mod outage_log;
mod scan;
mod settings;

use async_trait::async_trait;
use behalf_entra::EntraClient;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::broadcast;

pub(crate) use connection::MAX_WAIT;
pub use settings::RedisSettingsError;

use super::{
    Announcement, Entry, MAX_VALUE_BYTES, Page, SessionStore, StoreError, StoreKey, StoreReport, Written,
};
use crate::session_id::SessionId;
use announcements::Announcements;
use commands::KeyNames;
use connection::SharedConnection;
use scan::ScanPosition;
use settings::Settings;

/// Maximum number of entries of one page that are read at the same time.
const AT_ONCE: usize = 16;

/// Sessions in Redis. Keys of several `McpServer`s may share one Redis: each key begins with
/// `behalf:<namespace>/<name>:`.
pub struct RedisStore {
    connection: SharedConnection,
    names: KeyNames,
}

impl RedisStore {
    /// A store at the configured address. Connects at the first use, so that a sidecar starts while its store is away.
    /// `entra` is the client of the application that authenticates to the store, if the configuration says so.
    ///
    /// # Errors
    /// [`RedisSettingsError`] for a configuration that cannot work.
    pub fn new(
        config: &behalf_contract::RedisConfig,
        object: &behalf_contract::ObjectIdentity,
        entra: Option<EntraClient>,
    ) -> Result<Self, RedisSettingsError> {
        let names = KeyNames::new(object);
        let announcements = Announcements::new(names.channel());
        Ok(Self {
            connection: SharedConnection::new(Settings::new(config, entra)?, announcements),
            names,
        })
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        let commands = commands::get(&self.names.of(key));
        commands::read_entry(self.connection.run_or_wait(&commands).await?)
    }

    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge);
        }
        let names = self.names.of_both(key, key.record().as_ref());
        let commands = commands::put(&names, expected, &value, expires_at);
        commands::read_written(&self.connection.run_or_wait(&commands).await?)
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError> {
        // The next use of the session does the same.
        let commands = commands::touch(&self.names.of(key), expires_at);
        self.connection.run(&commands).await.map(drop)
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        let commands = commands::remove(&self.names.of_both(key, key.companion().as_ref()));
        match self.connection.try_once(&commands).await {
            Err(StoreError::Unreachable(_)) => {}
            answers => return commands::read_entry(answers?),
        }
        let entry = commands::read_entry(self.connection.run_or_wait(&commands).await?)?;
        entry.map(Some).ok_or(StoreError::MayBeRemoved)
    }

    async fn session_page(&self, cursor: Option<&str>) -> Result<Page, StoreError> {
        let position = cursor.map(ScanPosition::parse).unwrap_or_default();
        let (names, next) = self.connection.scan(&self.names.all_sessions(), position).await?;
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            ids.extend(self.names.session_of(&name));
        }
        let mut foreign = 0;
        let mut entries = Vec::with_capacity(ids.len());
        let read = |id: SessionId| async move { (id, self.get(&StoreKey::Session(id)).await) };
        let mut reads = stream::iter(ids).map(read).buffer_unordered(AT_ONCE);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(entry) => entries.extend(entry.map(|entry| (id, entry))),
                // One such entry must not hide the sessions beside it.
                Err(StoreError::Foreign(_)) => foreign += 1,
                Err(error) => return Err(error),
            }
        }
        if foreign > 0 {
            tracing::warn!(
                entries = foreign,
                "Skipped entries of another program in the list of sessions; delete the keys behalf:*:session whose type is \
                 not hash, and find out who writes to this Redis"
            );
        }
        Ok(Page {
            entries,
            next: next.map(|place| place.to_text()),
        })
    }

    async fn announce_end(&self, id: &SessionId) -> Result<(), StoreError> {
        self.connection.publish(&announcements::ended(id)).await
    }

    fn announcements(&self) -> Option<broadcast::Receiver<Announcement>> {
        Some(self.connection.announcements())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.connection.ping().await
    }

    async fn report(&self) -> Result<StoreReport, StoreError> {
        // A user who may connect and may not read is of no use. No user has this key.
        self.get(&StoreKey::User([0; 32])).await?;
        // Some installations refuse INFO to this user. The policy is unknown then.
        let information = self.connection.information().await.ok();
        Ok(StoreReport {
            eviction_policy: information.as_ref().and_then(commands::eviction_policy),
        })
    }
}
