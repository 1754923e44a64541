//! The scopes of a session, and the scopes that each call needs.

pub mod challenge;
mod policy;
mod scopes;

pub use policy::AccessPolicy;
pub use scopes::{Scopes, UnknownScopes};
