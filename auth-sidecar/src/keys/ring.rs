//! The keyring's keys and the HKDF subkeys derived from them.

use aes_gcm::{Aes256Gcm, KeyInit as _};
use behalf_contract::{Key, Keyring, KeyringReport, Keys};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::{OpenError, SealError};
use super::purpose::Purpose;

/// HKDF salt: another version would be another set of subkeys.
const SALT: &[u8] = b"behalf/keys/1";

/// A keyring with its subkeys, derived once.
pub(super) struct Ring {
    sessions: Set,
    clients: Set,
}

struct Set {
    sealing: String,
    rotation_pending: bool,
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
        Self {
            sessions: Set::new(&keyring.sessions),
            clients: Set::new(&keyring.clients),
        }
    }

    pub(super) fn sealing(&self, purpose: Purpose) -> Result<&Subkeys, SealError> {
        let set = self.set(purpose);
        set.find(&set.sealing).ok_or(SealError)
    }

    pub(super) fn opening(&self, purpose: Purpose, id: &str) -> Result<&Subkeys, OpenError> {
        let set = self.set(purpose);
        set.find(id).ok_or(OpenError::UnknownKey {
            rotation_pending: set.rotation_pending,
        })
    }

    pub(super) fn report(&self) -> KeyringReport {
        KeyringReport {
            sealing: self.sessions.sealing.clone(),
            opening: self.sessions.keys.iter().map(|key| key.id.clone()).collect(),
        }
    }

    /// Clients keep ids for ever, so their keys are a set of their own.
    fn set(&self, purpose: Purpose) -> &Set {
        if purpose == Purpose::Client {
            &self.clients
        } else {
            &self.sessions
        }
    }
}

impl Set {
    fn new(keys: &Keys) -> Self {
        let sealing = keys.keys.iter().find(|key| key.id == keys.sealing);
        Self {
            sealing: keys.sealing.clone(),
            // A key made after the one that seals is still open-only: some replica does not hold it yet.
            rotation_pending: sealing
                .is_some_and(|sealing| keys.keys.iter().any(|key| key.created_at > sealing.created_at)),
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

    /// The salt under which a session's secret becomes its record's key.
    pub(super) fn record_salt(&self) -> &[u8; 32] {
        &self.record
    }
}

fn subkey(hkdf: &Hkdf<Sha256>, purpose: Purpose) -> Zeroizing<[u8; 32]> {
    expand(hkdf, purpose.name().as_bytes())
}

/// 32 bytes of HKDF output.
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
