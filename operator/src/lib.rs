//! The Behalf operator: the `McpServer` custom resource and the controller that makes it real.

pub mod api;
pub mod cli;
pub mod controller;
pub mod error_chain;
pub mod health;
pub mod run;
pub mod telemetry;
#[cfg(test)]
mod testing;
