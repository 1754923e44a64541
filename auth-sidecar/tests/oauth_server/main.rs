//! The authorization server through its router, and whole logins against the Entra simulator.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod administration;
#[cfg(test)]
mod answer;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod breakable_store;
#[cfg(test)]
mod callback;
#[cfg(test)]
mod callback_limit;
#[cfg(test)]
#[path = "../support/captured_log.rs"]
mod captured_log;
#[cfg(test)]
mod client_examples;
#[cfg(test)]
mod conditional_access;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod declared_revocations;
#[cfg(test)]
mod denied_clients;
#[cfg(test)]
mod document_host;
#[cfg(test)]
mod egress_proxy;
#[cfg(test)]
mod entra_refresh;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod exchanged_entries;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod known_attacks;
#[cfg(test)]
mod known_clients;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod login;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod metadata_documents;
#[cfg(test)]
#[path = "../support/nginx.rs"]
mod nginx;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod rate_limits;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod register;
#[cfg(test)]
mod remembered_consent;
#[cfg(test)]
mod remembered_sessions;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod sign_in_requirements;
#[cfg(test)]
mod token;
