//! The Entra simulator through HTTP: each rule and each code of its list is seen at least once.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; only test functions are exempt by themselves"
)]

mod authorize;
mod binary;
mod client_authentication;
mod control;
mod faults;
mod login;
mod metadata;
mod on_behalf_of;
mod pod;
mod recorded;
mod refresh;
mod scopes;
mod sign_in;
mod stage;
