//! What a client may do with a session: the scopes, and which call needs which.

mod policy;
mod scopes;

pub use policy::AccessPolicy;
pub use scopes::{Scopes, UnknownScopes};
