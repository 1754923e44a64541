//! The inner hop: the layer in front of the MCP server inside a Pod. A server without a sidecar uses only its check
//! of messages ([`check_message`], [`Message`]).
//!
//! The layer handles all keys and tokens, for two reasons: the MCP library logs the arguments of calls, so it must
//! not see a token; and a tool cannot set the HTTP status of its answer. The layer
//!
//! 1. checks the host key of every request, and that its body is one JSON-RPC message of bounded depth and size;
//! 2. lets a request without a token only initialize and list tools;
//! 3. with the exchange in the server validates the user's token, removes `bearerToken` from the body and exchanges
//!    the token On-Behalf-Of the user;
//! 4. passes the downstream token to the tool in a request extension ([`CallToken`]);
//! 5. replaces the tool's answer if Azure DevOps refused the token (`LateRefusal`), with the status and header that
//!    the sidecar understands.

mod call_token;
mod capacity;
mod exchange_failure;
mod host_key;
mod incoming_token;
mod late_refusal;
mod layer;
mod message;
mod refusal;
mod traces;

pub(crate) use call_token::CallToken;
pub use host_key::{HostKey, HostKeyError};
pub use incoming_token::IncomingToken;
pub use layer::Hop;
pub(crate) use layer::{check_message, guard};
pub(crate) use message::{MAX_BODY_BYTES, Message, MessageError, json_rpc_error};
pub(crate) use traces::tracer;
