//! The keyring, its subkeys, and the sealing of texts and records.
//!
//! A key of the keyring is HKDF input only. Each [`Purpose`] has its own subkey, so that a text sealed for one
//! purpose never opens for another.

mod aead;
mod error;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod keyring_file;
mod process_key;
mod purpose;
mod ring;
mod sealed_record;
mod sealed_text;

pub(crate) use crate::random::random_bytes;
pub use crate::random::{Random, SystemRandom};
pub use error::{OpenError, SealError};
pub use keyring_file::KeyringHandle;
pub(crate) use process_key::ProcessKey;
pub use purpose::Purpose;
pub(crate) use sealed_record::{RecordContext, RecordKind};
