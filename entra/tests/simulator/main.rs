//! The client against the Entra simulator, which checks what Entra checks: assertions against the issuer's
//! published keys, codes against their verifier, users against consent and policy.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

mod federation;
mod tenant;
mod tokens;
mod users;
