//! The client against the Entra simulator, which checks what Entra checks: assertions against the issuer's
//! published keys, codes against their verifier, users against consent and policy.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

mod exchange;
mod federation;
mod login;
mod outages;
mod tenant;
mod tokens;
