//! Limits on the memory that requests take.

pub(crate) mod body_budget;
pub(crate) mod weak_map;
