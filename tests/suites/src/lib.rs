//! Tools of the black-box suite: it runs the MCP Inspector, the official SDKs and the public conformance suite, orders the
//! tests, and judges what a cluster reports.

pub mod conformance;
pub mod header_proxy;
pub mod inspector;
pub mod npm;
mod printed;
pub mod replaced_container;
pub mod schedule;
pub mod sdk_client;
pub mod writes;
