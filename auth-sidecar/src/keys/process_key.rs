//! A key that exists in the memory of this process only. What it seals opens nowhere else, and not after a restart.

use std::fmt;
use std::sync::Arc;

use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

use super::aead;
use super::error::SealError;
use crate::random::Random;

/// A random key of this process.
#[derive(Clone)]
pub(crate) struct ProcessKey(Arc<Aes256Gcm>);

impl ProcessKey {
    /// A new key.
    pub(crate) fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut_slice());
        Self(Arc::new(Aes256Gcm::new((&*bytes).into())))
    }

    /// Seals `plaintext`. Headers and URLs can carry the result, which opens with the same associated data only.
    pub(crate) fn seal(
        &self,
        associated_data: &[u8],
        plaintext: &[u8],
        random: &dyn Random,
    ) -> Result<String, SealError> {
        let bytes = aead::encrypt(&self.0, associated_data, plaintext, random)?;
        Ok(BASE64URL.encode(bytes))
    }

    /// Opens the result of [`ProcessKey::seal`]. Returns `None` for every other text.
    pub(crate) fn open(&self, associated_data: &[u8], text: &str) -> Option<Vec<u8>> {
        let bytes = BASE64URL.decode(text).ok()?;
        if bytes.len() < aead::MIN_LENGTH {
            return None;
        }
        aead::decrypt(&self.0, associated_data, &bytes).ok()
    }
}

impl fmt::Debug for ProcessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProcessKey(..)")
    }
}
