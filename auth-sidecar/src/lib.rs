//! The auth sidecar of a Behalf Pod. It is the OAuth 2.1 authorization server for MCP clients, and the proxy that
//! adds the signed-in user's token to every call of the MCP server in the same Pod.
//!
//! [`lifecycle`] starts and stops the process. [`router`] builds the routers of both ports: [`oauth`] is the
//! authorization server, and [`proxy`] forwards requests to the MCP server. [`observe`] probes Entra and the MCP
//! server, and publishes the results.

pub mod access;
pub mod admin;
mod base64url;
pub mod cli;
mod client_label;
pub mod clients;
pub mod config;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod health;
pub mod host_key;
pub mod http;
mod internal_port;
pub mod keys;
pub mod lifecycle;
mod limits;
mod mounted_file;
pub mod oauth;
pub mod observe;
mod pkce;
pub mod proxy;
mod random;
pub mod revocations_file;
pub mod router;
pub mod services;
mod session_id;
pub mod sessions;
pub mod store;
pub mod telemetry;
mod token_digest;
mod trust_roots;
pub mod upstream;
