//! Tools of the suites: they run the MCP Inspector, the official SDKs, the public conformance suite and servers of others,
//! order the tests, and judge what a cluster reports.

pub mod chart_programs;
pub mod commands;
pub mod conformance;
pub mod container_run;
pub mod foreign_server;
pub mod header_proxy;
pub mod inspector;
pub mod limits;
pub mod npm;
mod printed;
pub mod published_crds;
pub mod python;
pub mod replaced_container;
pub mod rollouts;
pub mod schedule;
pub mod sdk_client;
pub mod writes;
