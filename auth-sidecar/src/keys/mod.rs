//! Keys and everything sealed with them.
//!
//! A keyring key is HKDF input only. Each [`Purpose`] has a subkey of its own, so that what was sealed as
//! one thing never opens as another.

mod aead;
mod error;
mod keyring_file;
mod purpose;
mod ring;
mod sealed_record;
mod sealed_text;

pub(crate) use crate::random::random_bytes;
pub use crate::random::{Random, SystemRandom};
pub use error::{OpenError, SealError};
pub use keyring_file::{KeyringFileError, KeyringHandle};
pub use purpose::Purpose;
pub(crate) use sealed_record::RecordPlace;
