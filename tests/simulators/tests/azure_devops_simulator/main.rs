//! The Azure DevOps simulator, black box: over HTTP, with tokens of a tenant that the test itself is.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

mod access;
mod build_updates;
mod builds;
mod control;
mod definitions;
mod entra;
mod faults;
mod fixture;
mod logs;
mod recorded;
mod releases;
mod runs;
mod timeline;
mod tokens;
