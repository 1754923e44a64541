//! Start and stop of the process.

pub mod drain;
mod start;

#[cfg(test)]
pub(crate) use start::public_limits;
pub use start::{Sidecar, StartError};
