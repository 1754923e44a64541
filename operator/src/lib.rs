//! The Behalf operator: the `McpServer` custom resource and the controller that makes it real.

pub mod api;
pub mod cli;
pub mod controller;
pub mod events;
pub mod health;
pub mod metrics;
pub mod run;
#[cfg(test)]
mod testing;
