//! Keys and everything sealed with them.
//!
//! A keyring key is HKDF input only. Each [`Purpose`] has a subkey of its own, so that what was sealed as
//! one thing never opens as another.

mod handle;
mod purpose;
mod random;
mod record;
mod ring;
mod seal;

pub use handle::{KeyringFileError, KeyringHandle};
pub use purpose::Purpose;
pub(crate) use random::random_bytes;
pub use random::{Random, SystemRandom};
pub(crate) use record::RecordPlace;
pub use seal::{OpenError, SealError};
