//! The run-time code that the auth sidecar and the MCP server share: the listener behind each of their ports.

#![warn(missing_docs)]

mod activity;
mod early_answer;
mod http2;
mod limits;
mod listener;
mod places;
mod stream;

pub use limits::{Http2Limits, Limits, WhenFull};
pub use listener::serve;
