//! HTTP at both ports: routers, the internal port, addresses of clients and of this server.

pub mod client_address;
pub mod internal_port;
pub mod public_url;
pub mod router;
