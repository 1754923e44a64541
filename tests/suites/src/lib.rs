//! What the black-box suite runs with: the MCP Inspector, the official SDKs and the public conformance suite, and
//! the order of its tests.

pub mod conformance;
pub mod header_proxy;
pub mod inspector;
pub mod npm;
mod printed;
pub mod replaced_container;
pub mod schedule;
pub mod sdk_client;
pub mod writes;
