//! The keyring's keys and the HKDF subkeys derived from them.

use aes_gcm::{Aes256Gcm, KeyInit as _};
use behalf_contract::{Key, Keyring, KeyringReport, Keys};
use hkdf::Hkdf;
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::{OpenError, SealError};
use super::purpose::Purpose;

/// HKDF salt. Another salt would derive other subkeys, so that nothing that is sealed would open.
const SALT: &[u8] = b"behalf/keys/1";

/// The keys of a keyring with their subkeys. Each subkey is derived once.
pub(super) struct Ring {
    sessions: KeySet,
    clients: KeySet,
    newest_key: Timestamp,
}

/// The keys of one set, and the id of the key that seals.
struct KeySet {
    sealing: String,
    /// The key that seals next. It seals only after every Pod has read it.
    next: Option<String>,
    keys: Vec<Subkeys>,
}

/// One key of the keyring.
pub(super) struct Subkeys {
    pub(super) id: String,
    ciphers: Vec<Aes256Gcm>,
    record: Zeroizing<[u8; 32]>,
}

impl Ring {
    pub(super) fn new(keyring: &Keyring) -> Self {
        let keys = keyring.sessions.keys.iter().chain(&keyring.clients.keys);
        Self {
            sessions: KeySet::new(&keyring.sessions),
            clients: KeySet::new(&keyring.clients),
            newest_key: keys.map(|key| key.created_at).max().unwrap_or_default(),
        }
    }

    pub(super) fn sealing(&self, purpose: Purpose) -> Result<&Subkeys, SealError> {
        let set = self.set(purpose);
        set.find(&set.sealing).ok_or(SealError)
    }

    pub(super) fn opening(&self, purpose: Purpose, id: &str) -> Result<&Subkeys, OpenError> {
        let set = self.set(purpose);
        set.find(id).ok_or(OpenError::UnknownKey {
            rotation_pending: set.next.is_some(),
        })
    }

    /// Returns the time at which the operator made the newest key.
    pub(super) fn newest_key(&self) -> Timestamp {
        self.newest_key
    }

    pub(super) fn report(&self) -> KeyringReport {
        KeyringReport {
            sealing: self.sessions.sealing.clone(),
            opening: self.sessions.keys.iter().map(|key| key.id.clone()).collect(),
            next: self.sessions.next.clone(),
            unusable: false,
        }
    }

    /// Returns the keys for `purpose`. Client ids have their own keys, because clients keep their ids without
    /// a time limit.
    fn set(&self, purpose: Purpose) -> &KeySet {
        if purpose == Purpose::Client {
            &self.clients
        } else {
            &self.sessions
        }
    }
}

impl KeySet {
    fn new(keys: &Keys) -> Self {
        Self {
            sealing: keys.sealing.clone(),
            next: keys.next().map(|key| key.id.clone()),
            keys: keys.keys.iter().map(Subkeys::derive).collect(),
        }
    }

    fn find(&self, id: &str) -> Option<&Subkeys> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl Subkeys {
    fn derive(key: &Key) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(SALT), key.material.expose());
        Self {
            id: key.id.clone(),
            ciphers: Purpose::ALL
                .iter()
                .map(|purpose| Aes256Gcm::new(&(*subkey(&hkdf, *purpose)).into()))
                .collect(),
            record: subkey(&hkdf, Purpose::Record),
        }
    }

    pub(super) fn cipher(&self, purpose: Purpose) -> Option<&Aes256Gcm> {
        self.ciphers.get(purpose.index())
    }

    /// The HKDF salt for deriving a record's key from its session's secret.
    pub(super) fn record_salt(&self) -> &[u8; 32] {
        &self.record
    }
}

fn subkey(hkdf: &Hkdf<Sha256>, purpose: Purpose) -> Zeroizing<[u8; 32]> {
    expand(hkdf, purpose.name().as_bytes())
}

/// Returns 32 bytes of HKDF output for `info`.
#[expect(
    clippy::expect_used,
    reason = "RFC 5869 allows 255 blocks of output; this is one"
)]
pub(super) fn expand(hkdf: &Hkdf<Sha256>, info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut output = Zeroizing::new([0; 32]);
    hkdf.expand(info, output.as_mut_slice())
        .expect("one block of output is always allowed");
    output
}
