//! Seals and opens the records of sessions.

use aes_gcm::{Aes256Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;

use super::aead;
use super::error::{OpenError, SealError};
use super::purpose::Purpose;
use super::ring::{Ring, Subkeys, expand};
use super::sealed_text::{MAX_KEY_ID_LENGTH, versioned_list};
use crate::random::Random;
use crate::session_id::{SessionId, SessionSecret};

/// Version of the envelope of a record. It is the first byte, and part of the associated data.
const VERSION: u8 = 1;

impl Ring {
    /// Seals a session's record under a key that is derived from the session's secret. Only the client has
    /// that secret, so that the store and the keyring together do not open the record.
    ///
    /// The seal binds the revision, so that a store cannot return an older record under a newer revision. A
    /// store that returns an older record with its own revision is not detected, because the client does not
    /// know the revision.
    pub(super) fn seal_record(
        &self,
        object: &str,
        context: RecordContext<'_>,
        plaintext: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, SealError> {
        let key = self.sealing(Purpose::Record)?;
        let aad = context.associated_data(&key.id, object);
        let encrypted = aead::encrypt(&context.cipher(key), &aad, plaintext, random)?;
        join(&key.id, &encrypted)
    }

    /// Opens a record that [`Ring::seal_record`] sealed for the same context.
    pub(super) fn open_record(
        &self,
        object: &str,
        context: RecordContext<'_>,
        envelope: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let (key_id, rest) = split(envelope).ok_or(OpenError::Malformed)?;
        let key = self.opening(Purpose::Record, key_id)?;
        aead::decrypt(
            &context.cipher(key),
            &context.associated_data(key_id, object),
            rest,
        )
    }
}

/// Joins the id of a key and what it encrypted to an envelope.
pub(super) fn join(key_id: &str, encrypted: &[u8]) -> Result<Vec<u8>, SealError> {
    let id_length = u8::try_from(key_id.len()).map_err(|_| SealError)?;
    let mut envelope = Vec::with_capacity(2 + key_id.len() + encrypted.len());
    envelope.extend_from_slice(&[VERSION, id_length]);
    envelope.extend_from_slice(key_id.as_bytes());
    envelope.extend_from_slice(encrypted);
    Ok(envelope)
}

/// Splits an envelope into the id of its key and what the key encrypted.
pub(super) fn split(envelope: &[u8]) -> Option<(&str, &[u8])> {
    let (&[version, id_length], rest) = envelope.split_first_chunk::<2>()?;
    if version != VERSION || usize::from(id_length) > MAX_KEY_ID_LENGTH {
        return None;
    }
    let (key_id, rest) = rest.split_at_checked(usize::from(id_length))?;
    Some((std::str::from_utf8(key_id).ok()?, rest))
}

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// The session itself, without the user's tokens.
    Session,

    /// The user's tokens.
    Tokens,

    /// The session's downstream token.
    Downstream,
}

impl RecordKind {
    /// Separates the keys of the kinds. A record of one kind does not open as another.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"",
            Self::Tokens => b"tokens",
            Self::Downstream => b"downstream",
        }
    }
}

/// The kind, session, secret and revision that a record is sealed for.
#[derive(Clone, Copy)]
pub(crate) struct RecordContext<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) id: &'a SessionId,
    pub(crate) secret: &'a SessionSecret,
    pub(crate) revision: u64,
}

impl RecordContext<'_> {
    fn cipher(&self, key: &Subkeys) -> Aes256Gcm {
        let hkdf = Hkdf::<Sha256>::new(Some(key.record_salt()), self.secret.expose());
        // All ids have the same length, so that no two contexts have the same text.
        let info = [self.id.as_bytes(), self.kind.label()].concat();
        Aes256Gcm::new(&(*expand(&hkdf, &info)).into())
    }

    /// version ‖ session id ‖ key id ‖ revision ‖ namespace/name of the object.
    fn associated_data(&self, key_id: &str, object: &str) -> Vec<u8> {
        let revision = self.revision.to_be_bytes();
        let parts = [
            self.id.as_bytes().as_slice(),
            key_id.as_bytes(),
            &revision,
            object.as_bytes(),
        ];
        versioned_list(VERSION, &parts)
    }
}
