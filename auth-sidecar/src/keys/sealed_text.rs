//! Seals values into texts with AES-GCM, and opens them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use super::aead;
use super::error::{OpenError, SealError};
use super::purpose::Purpose;
use super::ring::Ring;
use crate::random::Random;

/// Version of the sealed form. It is part of the associated data.
const VERSION: u8 = 1;

/// Maximum length of a key id in bytes. `behalf_contract::Keyring` refuses longer ids.
pub(super) const MAX_KEY_ID_LENGTH: usize = 16;

impl Ring {
    /// Seals `plaintext`. The result is `prefix.key id.base64url(nonce and ciphertext)`. URLs, cookies and
    /// headers can carry all of its characters.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        object: &str,
        plaintext: &[u8],
        random: &dyn Random,
    ) -> Result<String, SealError> {
        let key = self.sealing(purpose)?;
        let cipher = key.cipher(purpose).ok_or(SealError)?;
        let bytes = aead::encrypt(
            cipher,
            &associated_data(&key.id, purpose, object),
            plaintext,
            random,
        )?;
        Ok(format!(
            "{}.{}.{}",
            purpose.prefix(),
            key.id,
            BASE64URL.encode(bytes)
        ))
    }

    /// Opens a text that [`Ring::seal`] made for the same purpose and object.
    pub(super) fn open(&self, purpose: Purpose, object: &str, text: &str) -> Result<Vec<u8>, OpenError> {
        let (key_id, body) = split(purpose, text)?;
        let key = self.opening(purpose, key_id)?;
        let cipher = key.cipher(purpose).ok_or(OpenError::Malformed)?;
        let bytes = BASE64URL.decode(body).map_err(|_| OpenError::Malformed)?;
        if bytes.len() < aead::MIN_LENGTH {
            return Err(OpenError::Malformed);
        }
        aead::decrypt(cipher, &associated_data(key_id, purpose, object), &bytes)
    }
}

/// Returns the key id and the body of a sealed text. Makes every check that needs no decoding.
fn split(purpose: Purpose, text: &str) -> Result<(&str, &str), OpenError> {
    if text.len() > purpose.max_length() {
        return Err(OpenError::Malformed);
    }
    let mut parts = text.split('.');
    let (Some(prefix), Some(key_id), Some(body), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(OpenError::Malformed);
    };
    let is_key_id = (1..=MAX_KEY_ID_LENGTH).contains(&key_id.len())
        && key_id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if prefix == purpose.prefix() && is_key_id && !body.is_empty() {
        Ok((key_id, body))
    } else {
        Err(OpenError::Malformed)
    }
}

/// version ‖ key id ‖ purpose ‖ namespace/name of the object. The UID is not included, because an object that is
/// restored from a backup has another UID.
fn associated_data(key_id: &str, purpose: Purpose, object: &str) -> Vec<u8> {
    let parts = [key_id, purpose.name(), object].map(str::as_bytes);
    versioned_list(VERSION, &parts)
}

/// Joins a version and parts. The length stands in front of each part, so that two different lists never give the same
/// bytes.
pub(super) fn versioned_list(version: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| size_of::<u64>() + part.len()).sum();
    let mut data = Vec::with_capacity(1 + length);
    data.push(version);
    for part in parts {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}
