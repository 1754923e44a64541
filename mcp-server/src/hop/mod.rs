//! The inner hop: the one layer in front of the MCP server inside a Pod. A server without a sidecar uses only
//! the part that checks messages ([`check_message`]).
//!
//! Everything between the auth sidecar and the tools that is about keys and tokens happens here, for two
//! reasons: the MCP library logs the arguments of calls, so a token must be out of them before it sees
//! them; and a tool cannot set the HTTP status of its answer. The layer
//!
//! 1. checks the host key on every request, and that its body is one JSON-RPC message of bounded depth and size;
//! 2. lets a request without a token only shake hands and list tools;
//! 3. with the exchange in the server validates the user's token, takes `bearerToken` out of the body and
//!    exchanges the token On-Behalf-Of the user;
//! 4. hands the downstream token to the tool in a request extension ([`Caller`]);
//! 5. turns what the tool learned about that token ([`Slot`]) into the status and header that the sidecar
//!    understands.

mod caller;
mod host_key;
mod layer;
mod message;
mod refusal;
mod room;

pub(crate) use caller::Caller;
pub use host_key::{HostKey, HostKeyError};
pub use layer::{Arrival, Hop};
pub(crate) use layer::{LARGEST_BODY, check_message, guard};
pub(crate) use message::MOST_VALUES;
