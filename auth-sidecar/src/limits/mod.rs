//! Limits of the memory for request bodies, and the map that holds each user's and session's shared state.

pub(crate) mod body_budget;
pub(crate) mod weak_map;
