//! Seals texts with AES-GCM and opens them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

use super::aead;
use super::error::{OpenError, SealError};
use super::purpose::Purpose;
use super::ring::Ring;
use crate::random::Random;

/// Version of the sealed form, part of the associated data.
const VERSION: u8 = 1;

/// `contract::Keys` allows no longer ids.
pub(super) const LONGEST_KEY_ID: usize = 16;

impl Ring {
    /// Seals `plaintext`: prefix, key id, base64url of nonce and ciphertext, with dots between. Everything
    /// in it may stand in a URL, a cookie and a header.
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

    /// Opens what [`Ring::seal`] made for the same purpose and object.
    pub(super) fn open(
        &self,
        purpose: Purpose,
        object: &str,
        text: &str,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (key_id, body) = split(purpose, text)?;
        let key = self.opening(purpose, key_id)?;
        let cipher = key.cipher(purpose).ok_or(OpenError::Malformed)?;
        let bytes = BASE64URL.decode(body).map_err(|_| OpenError::Malformed)?;
        if bytes.len() < aead::SHORTEST {
            return Err(OpenError::Malformed);
        }
        aead::decrypt(cipher, &associated_data(key_id, purpose, object), &bytes)
    }
}

/// Key id and body, after every check that needs no decoding.
fn split(purpose: Purpose, text: &str) -> Result<(&str, &str), OpenError> {
    if text.len() > purpose.longest() {
        return Err(OpenError::Malformed);
    }
    let mut parts = text.split('.');
    let (Some(prefix), Some(key_id), Some(body), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(OpenError::Malformed);
    };
    let key_id_is_one = (1..=LONGEST_KEY_ID).contains(&key_id.len())
        && key_id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if prefix == purpose.prefix() && key_id_is_one && !body.is_empty() {
        Ok((key_id, body))
    } else {
        Err(OpenError::Malformed)
    }
}

/// version ‖ key id ‖ purpose ‖ namespace/name of the object. Each value follows its length, so that two
/// different lists never give the same bytes. The UID is not included: an object restored from a backup has
/// another one.
fn associated_data(key_id: &str, purpose: Purpose, object: &str) -> Vec<u8> {
    let mut data = vec![VERSION];
    for part in [key_id, purpose.name(), object] {
        append(&mut data, part.as_bytes());
    }
    data
}

/// Appends `part` with its length in front.
pub(super) fn append(data: &mut Vec<u8>, part: &[u8]) {
    data.extend_from_slice(&(part.len() as u64).to_be_bytes());
    data.extend_from_slice(part);
}
