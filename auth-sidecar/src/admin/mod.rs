//! Administration of one Pod: lists and revokes sessions, and introspects tokens.
//!
//! [`server`] answers on a Unix socket that only this container can reach. [`commands`] are the subcommands that
//! `kubectl exec` starts; they ask the server through [`client`]. The right to use them is `pods/exec`, which the API server
//! checks and audits.

mod client;
mod commands;
mod messages;
mod output;
mod server;

pub use commands::{AdminArguments, AdminCommandError, run};
pub use server::{AdminSocketError, bind, router};
