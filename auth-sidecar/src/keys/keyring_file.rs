//! Loads the keyring from its file and reloads it when the file changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use behalf_contract::{Keyring, KeyringError, KeyringReport};
use behalf_entra::Clock;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::purpose::Purpose;
use super::random::Random;
use super::ring::Ring;
use super::sealed_record::RecordPlace;
use super::sealed_text::{OpenError, SealError};

/// An unknown key id reads the file at most this often: whoever invents key ids must not make work.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// Larger than any keyring; a file beyond it is not one.
const LARGEST_FILE: u64 = 256 * 1024;

/// Why the keyring file cannot be used. The operator keeps it; deleting the Secret has a new one made.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// Missing, or not permitted.
    #[error("failed to read the keyring {}; check that the keyring Secret is mounted", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,

        /// The cause.
        #[source]
        source: std::io::Error,
    },

    /// Not a keyring.
    #[error("the keyring {} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,

        /// The cause.
        #[source]
        source: KeyringError,
    },
}

/// The keyring of this process: seals and opens, and follows its file.
pub struct KeyringHandle {
    path: PathBuf,
    object: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    loaded: RwLock<Arc<Loaded>>,
    asked_at: Mutex<Timestamp>,
}

struct Loaded {
    digest: [u8; 32],
    ring: Ring,
}

impl KeyringHandle {
    /// Reads the keyring at `path`. Everything sealed is bound to `object`, the `McpServer` as `namespace/name`.
    pub fn load(
        path: impl Into<PathBuf>,
        object: impl Into<String>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, KeyringFileError> {
        let path = path.into();
        let loaded = Loaded::parse(&path, &read(&path)?)?;
        let asked_at = Mutex::new(clock.now());
        Ok(Self {
            path,
            object: object.into(),
            clock,
            random,
            loaded: RwLock::new(Arc::new(loaded)),
            asked_at,
        })
    }

    /// The ids of the session keys, for the status document.
    pub fn report(&self) -> KeyringReport {
        self.loaded().ring.report()
    }

    /// Reads the file again and takes it over when it changed. True when it did. What was loaded before
    /// stays in use when the file is unusable.
    pub fn reload(&self) -> Result<bool, KeyringFileError> {
        let bytes = read(&self.path)?;
        if self.loaded().digest == digest(&bytes) {
            return Ok(false);
        }
        let loaded = Arc::new(Loaded::parse(&self.path, &bytes)?);
        let report = loaded.ring.report();
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        tracing::info!(
            keyring.sealing = report.sealing,
            keyring.opening = report.opening.join(","),
            "Took over a changed keyring"
        );
        Ok(true)
    }

    /// Follows the file for as long as the process lives. The kubelet replaces it through a symbolic link,
    /// which file notifications miss; reading a few hundred bytes from memory is cheaper than to be wrong.
    pub async fn follow(&self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut healthy = true;
        loop {
            ticks.tick().await;
            match self.reload() {
                Ok(_) => healthy = true,
                Err(error) if healthy => {
                    healthy = false;
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(
                        error,
                        "The keyring file is unusable; the keys read before stay in use"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Seals a value for `purpose`.
    pub(crate) fn seal<T: Serialize>(&self, purpose: Purpose, value: &T) -> Result<String, SealError> {
        // Room for all at once: growing would leave copies of secrets behind.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(purpose.longest()));
        serde_json::to_writer(&mut *plaintext, value).map_err(|_| SealError)?;
        self.loaded()
            .ring
            .seal(purpose, &self.object, &plaintext, self.random.as_ref())
    }

    /// Opens what [`KeyringHandle::seal`] made for the same purpose.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Result<T, OpenError> {
        let plaintext = self.with_fresh_keys(|ring| ring.open(purpose, &self.object, text))?;
        serde_json::from_slice(&plaintext).map_err(|_| OpenError::Malformed)
    }

    pub(crate) fn seal_record(&self, place: RecordPlace<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        self.loaded()
            .ring
            .seal_record(&self.object, place, plaintext, self.random.as_ref())
    }

    pub(crate) fn open_record(
        &self,
        place: RecordPlace<'_>,
        envelope: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.with_fresh_keys(|ring| ring.open_record(&self.object, place, envelope))
    }

    /// Tries once more with the file's keys when the key is unknown.
    fn with_fresh_keys<T>(&self, open: impl Fn(&Ring) -> Result<T, OpenError>) -> Result<T, OpenError> {
        match open(&self.loaded().ring) {
            Err(OpenError::UnknownKey { .. })
                if self.may_ask() && self.reload().is_ok_and(|changed| changed) =>
            {
                open(&self.loaded().ring)
            }
            outcome => outcome,
        }
    }

    fn may_ask(&self) -> bool {
        let now = self.clock.now();
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = now.duration_since(*asked_at) >= PAUSE;
        if may {
            *asked_at = now;
        }
        may
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
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

impl Loaded {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, KeyringFileError> {
        let keyring = Keyring::parse(bytes).map_err(|source| KeyringFileError::Unusable {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            digest: digest(bytes),
            ring: Ring::new(&keyring),
        })
    }
}

/// A Secret volume is memory, so that reading it blocks nobody.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyringFileError> {
    use std::io::Read as _;

    let unreadable = |source| KeyringFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len().min(LARGEST_FILE);
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(length).unwrap_or_default() + 1,
    ));
    file.take(LARGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use behalf_contract::{Key, KeyMaterial, Keys};
    use behalf_entra::FixedClock;
    use rstest::rstest;

    use super::super::random::SystemRandom;
    use super::*;
    use crate::sessions::{SessionId, SessionSecret};

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    struct Fixture {
        directory: tempfile::TempDir,
        clock: Arc<FixedClock>,
    }

    fn key(id: &str, byte: u8, created_at: Timestamp) -> Key {
        Key {
            id: id.to_owned(),
            material: KeyMaterial::new([byte; 32]),
            created_at,
        }
    }

    fn keyring(sealing: &str, keys: Vec<Key>) -> Keyring {
        let clients = Keys {
            sealing: "c1".to_owned(),
            keys: vec![key("c1", 200, START)],
        };
        Keyring {
            sessions: Keys {
                sealing: sealing.to_owned(),
                keys,
            },
            clients,
        }
    }

    impl Fixture {
        fn new(keyring: &Keyring) -> Self {
            let fixture = Self {
                directory: tempfile::tempdir().unwrap(),
                clock: Arc::new(FixedClock::new(START)),
            };
            fixture.write(keyring);
            fixture
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("keyring.json")
        }

        fn write(&self, keyring: &Keyring) {
            std::fs::write(self.path(), serde_json::to_vec(keyring).unwrap()).unwrap();
        }

        fn handle(&self, object: &str) -> KeyringHandle {
            let clock = Arc::clone(&self.clock);
            KeyringHandle::load(self.path(), object, clock, Arc::new(SystemRandom)).unwrap()
        }
    }

    fn one_key() -> Fixture {
        Fixture::new(&keyring("k1", vec![key("k1", 1, START)]))
    }

    #[test]
    fn opens_what_it_sealed_and_never_seals_alike() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let [one, other] = [(); 2].map(|()| keys.seal(Purpose::Access, &"value").unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with("bha1.k1."), "{one}");
        for text in [one, other] {
            assert_eq!(keys.open::<String>(Purpose::Access, &text).unwrap(), "value");
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let sealed = keys.seal(Purpose::Access, &"value").unwrap();
        for index in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[index] ^= 1;
            let Ok(altered) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(
                keys.open::<String>(Purpose::Access, &altered).is_err(),
                "{altered}"
            );
        }
        for length in 0..sealed.len() {
            assert!(
                keys.open::<String>(Purpose::Access, &sealed[..length]).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn what_was_sealed_for_one_purpose_opens_for_no_other() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let sealed = keys.seal(Purpose::Access, &"value").unwrap();
        assert_eq!(
            keys.open::<String>(Purpose::Refresh, &sealed),
            Err(OpenError::Malformed)
        );
        let disguised = sealed.replace("bha1", "bhr1");
        assert_eq!(
            keys.open::<String>(Purpose::Refresh, &disguised),
            Err(OpenError::Seal)
        );
    }

    #[test]
    fn what_was_sealed_for_one_object_opens_for_no_other() {
        let fixture = one_key();
        let sealed = fixture
            .handle("mcp/azure-devops")
            .seal(Purpose::Access, &"value")
            .unwrap();
        let opened = fixture
            .handle("mcp/another")
            .open::<String>(Purpose::Access, &sealed);
        assert_eq!(opened, Err(OpenError::Seal));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::prefix_alone("bha1")]
    #[case::no_body("bha1.k1.")]
    #[case::no_key_id("bha1..AAAA")]
    #[case::long_key_id("bha1.aaaaaaaaaaaaaaaaa.AAAA")]
    #[case::upper_case_key_id("bha1.K1.AAAA")]
    #[case::four_parts("bha1.k1.AAAA.AAAA")]
    #[case::not_base64url("bha1.k1.AA+/")]
    #[case::padded("bha1.k1.AAA=")]
    #[case::shorter_than_a_nonce("bha1.k1.AAAA")]
    #[case::shorter_than_a_tag("bha1.k1.AAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::line_break("bha1.k1.AAAA\n")]
    #[case::other_alphabet("bha1.k1.\u{e9}\u{e9}")]
    fn other_texts_are_malformed(#[case] text: &str) {
        let fixture = one_key();
        assert_eq!(
            fixture
                .handle("mcp/azure-devops")
                .open::<String>(Purpose::Access, text),
            Err(OpenError::Malformed)
        );
    }

    #[test]
    fn texts_beyond_the_bound_are_not_looked_at() {
        let fixture = one_key();
        let text = format!("bha1.k1.{}", "A".repeat(Purpose::Access.longest()));
        assert_eq!(
            fixture
                .handle("mcp/azure-devops")
                .open::<String>(Purpose::Access, &text),
            Err(OpenError::Malformed)
        );
    }

    #[test]
    fn client_ids_are_sealed_under_keys_of_their_own() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let id = keys.seal(Purpose::Client, &"client").unwrap();
        assert!(id.starts_with("bhi1.c1."), "{id}");
        fixture.write(&keyring("k2", vec![key("k2", 2, START)]));
        keys.reload().unwrap();
        assert_eq!(keys.open::<String>(Purpose::Client, &id).unwrap(), "client");
    }

    #[test]
    fn a_rotation_opens_the_old_and_seals_with_the_new() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let old = keys.seal(Purpose::Access, &"value").unwrap();
        let later = START + SignedDuration::from_hours(1);
        fixture.write(&keyring("k2", vec![key("k1", 1, START), key("k2", 2, later)]));
        assert!(keys.reload().unwrap());
        assert!(!keys.reload().unwrap());
        assert_eq!(keys.open::<String>(Purpose::Access, &old).unwrap(), "value");
        assert!(
            keys.seal(Purpose::Access, &"value")
                .unwrap()
                .starts_with("bha1.k2.")
        );
        assert_eq!(keys.report().opening, ["k1", "k2"]);
        fixture.write(&keyring("k2", vec![key("k2", 2, later)]));
        keys.reload().unwrap();
        let opened = keys.open::<String>(Purpose::Access, &old);
        assert_eq!(
            opened,
            Err(OpenError::UnknownKey {
                rotation_pending: false
            })
        );
    }

    #[test]
    fn an_unknown_key_id_reads_the_file_and_not_at_will() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let both = vec![key("k1", 1, START), key("k2", 2, START)];
        fixture.write(&keyring("k2", both));
        let sealed = fixture
            .handle("mcp/azure-devops")
            .seal(Purpose::Access, &"value")
            .unwrap();
        assert!(matches!(
            keys.open::<String>(Purpose::Access, &sealed),
            Err(OpenError::UnknownKey { .. })
        ));
        fixture.clock.advance(PAUSE);
        assert_eq!(keys.open::<String>(Purpose::Access, &sealed).unwrap(), "value");
    }

    #[test]
    fn an_unknown_key_is_told_apart_while_a_rotation_is_pending() {
        let later = START + SignedDuration::from_hours(1);
        let fixture = Fixture::new(&keyring("k1", vec![key("k1", 1, START), key("k2", 2, later)]));
        let text = one_key()
            .handle("mcp/azure-devops")
            .seal(Purpose::Access, &"value")
            .unwrap()
            .replace(".k1.", ".k9.");
        let opened = fixture
            .handle("mcp/azure-devops")
            .open::<String>(Purpose::Access, &text);
        assert_eq!(
            opened,
            Err(OpenError::UnknownKey {
                rotation_pending: true
            })
        );
    }

    #[test]
    fn an_unusable_file_leaves_the_keys_in_use() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let sealed = keys.seal(Purpose::Access, &"value").unwrap();
        std::fs::write(fixture.path(), b"{").unwrap();
        assert!(matches!(keys.reload(), Err(KeyringFileError::Unusable { .. })));
        std::fs::remove_file(fixture.path()).unwrap();
        assert!(matches!(keys.reload(), Err(KeyringFileError::Unreadable { .. })));
        assert_eq!(keys.open::<String>(Purpose::Access, &sealed).unwrap(), "value");
    }

    #[test]
    fn a_record_needs_its_session_its_secret_and_its_revision() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let [id, other_id] = [(); 2].map(|()| SessionId::generate(&SystemRandom));
        let [secret, other_secret] = [(); 2].map(|()| SessionSecret::generate(&SystemRandom));
        let place = RecordPlace {
            id: &id,
            secret: &secret,
            revision: 3,
        };
        let envelope = keys.seal_record(place, b"record").unwrap();
        assert_eq!(*keys.open_record(place, &envelope).unwrap(), b"record");
        let others = [
            RecordPlace {
                id: &other_id,
                ..place
            },
            RecordPlace {
                secret: &other_secret,
                ..place
            },
            RecordPlace { revision: 2, ..place },
        ];
        for other in others {
            assert_eq!(keys.open_record(other, &envelope).unwrap_err(), OpenError::Seal);
        }
        let foreign = fixture.handle("mcp/another").open_record(place, &envelope);
        assert_eq!(foreign.unwrap_err(), OpenError::Seal);
    }

    #[test]
    fn altered_and_cut_records_do_not_open() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let (id, secret) = (
            SessionId::generate(&SystemRandom),
            SessionSecret::generate(&SystemRandom),
        );
        let place = RecordPlace {
            id: &id,
            secret: &secret,
            revision: 1,
        };
        let envelope = keys.seal_record(place, b"record").unwrap();
        for index in 0..envelope.len() {
            let mut altered = envelope.clone();
            altered[index] ^= 0x80;
            assert!(keys.open_record(place, &altered).is_err(), "{index}");
            assert!(keys.open_record(place, &envelope[..index]).is_err(), "{index}");
        }
    }

    #[test]
    fn debug_shows_ids_and_nothing_else() {
        let fixture = one_key();
        let keys = fixture.handle("mcp/azure-devops");
        let text = format!("{keys:?}");
        assert!(text.contains("k1"), "{text}");
        assert!(!text.contains("ring:") && !text.contains("1, 1"), "{text}");
    }
}
