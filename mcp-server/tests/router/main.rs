//! The server of a Pod, through its router and against the simulators.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answer_memory;
mod embedded_json;
mod eras;
mod errors;
mod exchange;
mod inner_hop;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod trouble;
