//! The Behalf operator: the `McpServer` custom resource and its controller.

pub mod api;
pub mod check;
pub mod cli;
pub mod controller;
pub mod error_chain;
pub mod field_manager;
pub mod health;
pub mod lease;
pub mod run;
pub mod telemetry;
#[cfg(test)]
mod testing;
