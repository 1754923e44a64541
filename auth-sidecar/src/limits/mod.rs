//! Limits on requests: the memory of their bodies, how often one address may send them, how many new
//! tokens of Entra one user may present, and the map that holds each
//! user's and session's shared state.

pub(crate) mod address_budget;
pub(crate) mod body_budget;
pub(crate) mod new_tokens;
pub(crate) mod oauth_budgets;
#[cfg(test)]
mod tests;
pub(crate) mod token_bucket;
pub(crate) mod weak_map;
