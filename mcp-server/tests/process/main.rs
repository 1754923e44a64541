//! Tests the binary: on a laptop with a simulated Azure CLI, and as in a Pod.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binary;
mod client_text;
mod connections;
mod http;
mod memory;
mod pod;
mod stdio;
#[path = "../support/mod.rs"]
mod support;
