//! Run-time code that the programs of a Pod and the operator share: logs, signals, configuration files, error
//! chains, traces, media types, digests, jitter, the listener behind each port of a Pod, and a warning of variables that name a proxy.

#![warn(missing_docs)]

mod audit_batch_writer;
mod config_file;
mod connection_slots;
mod connection_state;
mod digest_of_parts;
mod early_answer;
mod error_chain;
mod guarded_body;
mod http2;
mod jitter;
mod json_line;
mod limits;
mod listener;
mod logging;
mod media_type;
mod proxy_variables;
mod service;
mod signals;
mod stream;
pub mod trace;

pub use config_file::{ConfigFile, ConfigFileError};
pub use digest_of_parts::digest_of_parts;
pub use error_chain::{error_chain, error_chain_with};
pub use guarded_body::guarded_body;
pub use jitter::spread;
pub use limits::{Http2Limits, Limits, WhenFull};
pub use listener::{serve, serve_and_drain};
pub use logging::{AUDIT_TARGET, LogFormat, LogLevel, Logging};
pub use media_type::{has_media_type, media_type};
pub use proxy_variables::warn_of_ignored_proxy;
pub use service::Service;
pub use signals::{Signal, Signals};
