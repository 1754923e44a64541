//! AES-256-GCM. The nonce stands in front of the ciphertext. Sealed texts and sealed records both use it.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

use super::error::{OpenError, SealError};
use crate::random::{Random, random_bytes};

/// Length of an AES-GCM nonce in bytes (NIST SP 800-38D, section 8.2).
const NONCE_LENGTH: usize = 12;

/// Length in bytes of an encrypted empty text: the nonce and the authentication tag of 16 bytes.
pub(super) const MIN_LENGTH: usize = NONCE_LENGTH + 16;

/// Encrypts `plaintext` under a random nonce. Returns the nonce and the ciphertext.
pub(super) fn encrypt(
    cipher: &Aes256Gcm,
    associated_data: &[u8],
    plaintext: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, SealError> {
    let nonce: [u8; NONCE_LENGTH] = random_bytes(random);
    let payload = Payload {
        msg: plaintext,
        aad: associated_data,
    };
    let ciphertext = cipher
        .encrypt(&Nonce::from(nonce), payload)
        .map_err(|_| SealError)?;
    Ok([&nonce[..], &ciphertext].concat())
}

/// Decrypts the result of [`encrypt`] with the same associated data.
pub(super) fn decrypt(
    cipher: &Aes256Gcm,
    associated_data: &[u8],
    encrypted: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let (nonce, ciphertext) = encrypted
        .split_first_chunk::<NONCE_LENGTH>()
        .ok_or(OpenError::Malformed)?;
    let payload = Payload {
        msg: ciphertext,
        aad: associated_data,
    };
    cipher
        .decrypt(&Nonce::from(*nonce), payload)
        .map_err(|_| OpenError::Seal)
}
