//! Tests answers of Azure DevOps other than the requested one.

mod answer_memory;
mod outages;
mod throttling;
mod unknown_users;
