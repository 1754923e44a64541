//! Entry points of the fuzz targets in `tests/fuzz`. Each panics when a property does not hold. This module exists only in
//! builds with `--cfg fuzzing`, and in tests, so that it follows every change.

pub use crate::clients::fuzzing::{client_document, redirect_uri};
pub use crate::keys::fuzzing::sealed_text;
pub use crate::oauth::fuzzing::{cookies, form};
pub use crate::proxy::fuzzing::message;
pub use crate::sessions::fuzzing::record;
