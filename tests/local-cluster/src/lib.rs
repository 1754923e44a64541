//! Clusters and container images to test and to show Behalf on.

pub mod cluster;
mod command;
pub mod control_plane;
pub mod files;
pub mod images;
pub mod prerequisites;
mod progress;
mod toolchain;

pub use command::{Call, CommandError};
pub use progress::{Progress, Report};
pub use toolchain::{Clients, ToolchainError};
