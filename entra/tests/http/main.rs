//! The client against scripted HTTP answers: exact requests, faults, caches.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

mod broken_federation;
mod discovery;
mod entra;
mod faults;
mod on_behalf_of;
mod recorded;
mod requests;
mod tls;
mod validation;
