//! Limits on requests: the memory of their bodies, how often one address may send them, and the map that holds each
//! user's and session's shared state.

pub(crate) mod address_budget;
pub(crate) mod body_budget;
pub(crate) mod weak_map;
