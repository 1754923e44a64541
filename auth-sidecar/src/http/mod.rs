//! Addresses in HTTP requests: those of clients and those of this server. Uses no other module of this crate.

pub mod client_address;
pub(crate) mod plain_url;
pub mod public_url;
