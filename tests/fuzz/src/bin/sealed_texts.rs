//! Texts that nobody sealed, and sealed texts that somebody changed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::sealed_text(data));
