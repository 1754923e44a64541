//! Loads the keyring from its file and reloads it when the file changes.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use behalf_contract::{Keyring, KeyringReport};
use behalf_entra::Clock;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{OpenError, SealError};
use super::purpose::Purpose;
use super::ring::Ring;
use super::sealed_record::RecordContext;
use crate::mounted_file::{self, MountedContent, MountedFile, MountedFileError};
use crate::random::Random;

/// Minimum time between two reads of the file because of an unknown key id. A client that invents key ids
/// cannot cause more reads.
const UNKNOWN_KEY_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// Time for which a key that does not seal yet may explain an unknown key id. Pods read a changed keyring within two
/// minutes. A Pod that does not start holds up a rotation for longer, and must not hold up the clients of lost sessions.
const MAX_PENDING: SignedDuration = SignedDuration::from_mins(15);

/// The keyring of this process. It seals and opens, and reloads its file when the file changes.
pub struct KeyringHandle {
    file: MountedFile<Ring>,
    /// Whether the file was unusable when it was read last.
    is_unusable: AtomicBool,
    object: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The last read because of an unknown key id.
    last_unknown_key: Mutex<Timestamp>,
}

impl KeyringHandle {
    /// Reads the keyring at `path`. It binds everything that it seals to `object`, which is the
    /// `namespace/name` of the `McpServer`.
    pub fn load(
        path: impl Into<PathBuf>,
        object: impl Into<String>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, MountedFileError> {
        let file = MountedFile::load(path)?;
        let last_unknown_key = Mutex::new(clock.now());
        Ok(Self {
            file,
            is_unusable: AtomicBool::new(false),
            object: object.into(),
            clock,
            random,
            last_unknown_key,
        })
    }

    /// Returns the ids of the keys for sessions, and whether the file is unusable. The status document contains it.
    pub fn report(&self) -> KeyringReport {
        KeyringReport {
            unusable: self.is_unusable.load(Ordering::Relaxed),
            ..self.file.content().report()
        }
    }

    /// Reads the file, and uses its keys if it changed. Returns true if it changed. When the file is unusable,
    /// the keys that were loaded before stay in use.
    pub fn reload(&self) -> Result<bool, MountedFileError> {
        let reloaded = self.file.reload();
        self.is_unusable.store(reloaded.is_err(), Ordering::Relaxed);
        let Some(ring) = reloaded? else {
            return Ok(false);
        };
        let report = ring.report();
        tracing::info!(
            keyring.sealing = report.sealing,
            keyring.opening = report.opening.join(","),
            "Loaded a changed keyring"
        );
        Ok(true)
    }

    /// Reloads the file at every `interval`, until the future is dropped.
    pub async fn follow(&self, interval: Duration) {
        let complaint = "The keyring file is unusable; the keys that were loaded before stay in use";
        mounted_file::follow(interval, complaint, || self.reload().map(drop)).await;
    }

    /// Seals a value for `purpose`.
    pub(crate) fn seal<T: Serialize>(&self, purpose: Purpose, value: &T) -> Result<String, SealError> {
        self.seal_bytes(purpose, &serde_json::to_vec(value).map_err(|_| SealError)?)
    }

    /// Seals bytes for `purpose`.
    pub(crate) fn seal_bytes(&self, purpose: Purpose, plaintext: &[u8]) -> Result<String, SealError> {
        self.file
            .content()
            .seal(purpose, &self.object, plaintext, self.random.as_ref())
    }

    /// Opens a text that [`KeyringHandle::seal`] made for the same purpose.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Result<T, OpenError> {
        let plaintext = self.open_bytes(purpose, text)?;
        serde_json::from_slice(&plaintext).map_err(|_| OpenError::Malformed)
    }

    /// Opens a text that [`KeyringHandle::seal_bytes`] made for the same purpose.
    pub(crate) fn open_bytes(&self, purpose: Purpose, text: &str) -> Result<Vec<u8>, OpenError> {
        self.with_reloaded_keys(|ring| ring.open(purpose, &self.object, text))
    }

    pub(crate) fn seal_record(
        &self,
        context: RecordContext<'_>,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.file
            .content()
            .seal_record(&self.object, context, plaintext, self.random.as_ref())
    }

    pub(crate) fn open_record(
        &self,
        context: RecordContext<'_>,
        envelope: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        self.with_reloaded_keys(|ring| ring.open_record(&self.object, context, envelope))
    }

    /// Calls `open`. When the key is unknown, reloads the file and calls `open` once more.
    fn with_reloaded_keys<T>(&self, open: impl Fn(&Ring) -> Result<T, OpenError>) -> Result<T, OpenError> {
        let opened = match open(&self.file.content()) {
            Err(OpenError::UnknownKey { .. })
                if self.may_reload() && self.reload().is_ok_and(|changed| changed) =>
            {
                open(&self.file.content())
            }
            outcome => outcome,
        };
        opened.map_err(|error| match error {
            OpenError::UnknownKey { rotation_pending } => {
                let age = self.clock.now().duration_since(self.file.content().newest_key());
                OpenError::UnknownKey {
                    rotation_pending: rotation_pending && age < MAX_PENDING,
                }
            }
            error => error,
        })
    }

    fn may_reload(&self) -> bool {
        let now = self.clock.now();
        let mut last = self
            .last_unknown_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let may = now.duration_since(*last) >= UNKNOWN_KEY_PAUSE;
        if may {
            *last = now;
        }
        may
    }
}

impl std::fmt::Debug for KeyringHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KeyringHandle")
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}

impl MountedContent for Ring {
    const WHAT: &'static str = "keyring";
    // The error of the keyring says how.
    const NEXT_STEP: &'static str = "repair its Secret";

    fn parse(bytes: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::new(&Keyring::parse(bytes)?))
    }
}

#[cfg(test)]
mod tests;
