//! The auth sidecar of a Behalf Pod: OAuth 2.1 authorization server for MCP clients, and the proxy that puts
//! the signed-in user's token into every call to the MCP server beside it.
//!
//! [`run`] wires the parts. The public port serves [`app::public_router`], the internal one
//! [`app::internal_router`]; [`probe`] observes Entra and the MCP server and publishes what it saw.

pub mod access;
pub mod app;
mod bodies;
pub mod challenge;
pub mod cli;
pub mod client_address;
pub mod clients;
pub mod config;
pub mod flow;
pub mod health;
mod held;
pub mod host_key;
pub mod keys;
pub mod metrics;
pub mod probe;
pub mod proxy;
pub mod routes;
pub mod run;
pub mod sessions;
pub mod shutdown;
pub mod sign_ins;
pub mod state;
pub mod store;
pub mod upstream;
