//! The clients of others that the black-box suite runs: the MCP Inspector, the official SDKs and the public
//! conformance suite.

pub mod conformance;
pub mod header_proxy;
pub mod inspector;
pub mod npm;
mod printed;
pub mod sdk_client;
