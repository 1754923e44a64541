//! Start and stop of the process.

pub mod drain;
mod start;

pub use start::{Sidecar, StartError};
