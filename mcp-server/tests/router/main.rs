//! Tests the server of a Pod through its router, with simulated Entra and Azure DevOps.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod azure_devops;
mod egress_proxy;
mod eras;
mod errors;
mod exchange;
mod inner_hop;
mod metrics;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod traces;
mod user;
